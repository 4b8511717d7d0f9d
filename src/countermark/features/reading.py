"""What a store gives for one entity: a packed state folded as of now, and when to refuse rather than guess."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.state import SLACK, fold_words, unpack
from countermark.features.times import instant, microseconds

FeatureValue = float | int | bool | str | None


class FeatureRow(NamedTuple):
    """Features of one entity.

    Attributes:
        values: Value by feature, in the order of the view.
        as_of: Instant the values are true for: the asked one, unless the state has moved on.
        expired: Features whose value was withheld because it is older than its ``max_age``.
        known: Whether the store has anything of the entity; where not, the values are those of an empty history.
    """

    values: dict[str, FeatureValue]
    as_of: dt.datetime
    expired: tuple[str, ...]
    known: bool = True


@dataclass(frozen=True, slots=True)
class Generation:
    """A published build of a view.

    Attributes:
        view: Name of the view.
        version: Version of the view.
        number: Counts publications of the store.
        as_of: Instant up to which the build was complete when it was published.
        entities: Entities with a state.
    """

    view: str
    version: str
    number: int
    as_of: dt.datetime
    entities: int


def folded(plan: ViewPlan, state: bytes | None, now: dt.datetime) -> FeatureRow:
    """Features of a packed state as of now.

    Args:
        plan: The view.
        state: The packed state; None for an entity without one.
        now: The asked instant.
    """
    if state is None:
        return FeatureRow(dict(plan.nothing), now, (), known=False)
    words = np.frombuffer(state, dtype=np.int64, count=len(state) >> 3)
    t, oldest, as_of = microseconds(now), int(words[2]) - SLACK, now
    if t < oldest:
        t, as_of = oldest, instant(oldest)
    size = len(plan.names)
    out, withheld = np.empty(size), np.empty(size, dtype=np.bool_)
    fold_words(words, plan.on_clock(t), plan.tile, plan.state_program, (out, withheld))
    values: dict[str, FeatureValue] = {}
    texts: tuple[str, ...] | None = None
    for name, kind, number in zip(plan.names, plan.types, out.tolist(), strict=True):
        if number != number:
            values[name] = None
        elif kind == "number":
            values[name] = number
        elif kind == "integer":
            values[name] = int(number)
        elif kind == "boolean":
            values[name] = number == 1.0
        else:
            texts = unpack(state, plan).texts if texts is None else texts
            values[name] = texts[int(number)]
    expired = tuple(n for n, flag in zip(plan.names, withheld, strict=True) if flag) if plan.expires else ()
    return FeatureRow(values, as_of, expired)


def unpublished(plan: ViewPlan) -> FeatureStoreError:
    """The error of a version that was never published: to read it as empty would change every decision, silently."""
    return FeatureStoreError(
        f"feature view '{plan.name}' is not in the feature store",
        expected=f"a published build of version {plan.version[:12]}",
        got="none",
        hint=f"run 'countermark features materialize {plan.name}'",
    )


def overtaken(plan: ViewPlan) -> FeatureStoreError:
    """The error of a publication that another one of the same version has overtaken."""
    return FeatureStoreError(
        f"another publication of feature view '{plan.name}' came first",
        hint="see what it published with 'countermark features show', and materialize again if need be",
    )
