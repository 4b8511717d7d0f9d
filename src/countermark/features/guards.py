"""Build guards: named checks that compose and fail closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.feature_view import DAY, FeatureView, OnDemandFeature, WindowFeature
from countermark.config.spec import ModelSpec
from countermark.errors import ConfigError, GuardError
from countermark.features.on_demand import names_read

TRAIN = ("development", "calibration")
TEST = ("holdout", "out_of_time")
COPY_MINIMUM = 50
"""Fewer rows than this can look like a copy by accident."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The outcome of one guard.

    Attributes:
        name: Name of the check.
        passed: False stops the build; None says that it could not be evaluated.
        detail: What was found, by names and counts.
    """

    name: str
    passed: bool | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def require(guards: Sequence[Guard]) -> tuple[Guard, ...]:
    """Pass the guards on, or stop the build at the first that failed.

    Raises:
        GuardError: If a guard failed, or if there are none: an empty set of guards proves nothing.
    """
    if not guards:
        raise GuardError(
            "no guard was evaluated", expected="at least one guard", hint="call the guards before 'require'"
        )
    for guard in guards:
        if guard.passed is False:
            raise GuardError(f"guard '{guard.name}': {guard.detail}", hint=_HINTS.get(guard.name))
    return tuple(guards)


_HINTS = {
    "protected_input": "remove the feature; protected attributes serve fairness evidence only",
    "outcome_input": "remove the feature; it is the outcome",
    "leak_input": "remove the feature; it is known only after the outcome",
    "restricted_input": "remove the feature, or clear 'restricted' with the policy's owner",
    "identifier_input": "remove the feature; keys identify, they do not explain",
    "entity_overlap": "use a grouped split, or 'by_entity' for out-of-time",
    "own_event": "set 'known_delay', or correct 'known_at': a row is known after its own decision",
    "immature_labels": "set 'immature: exclude', or wait for the labels",
    "protected_copy": "remove the feature; it says the same as the protected attribute",
    "outcome_copy": "remove the feature; it says the same as the outcome",
}


def origins(spec: ModelSpec, feature: str) -> frozenset[str]:
    """Names under which a feature's data exists, back to the source file.

    Follows ``source``, feature views with their filters and expressions, unpivoted tables and ``rename``.

    Raises:
        ConfigError: If the feature names a view or a view's feature that does not exist.
    """
    return _before_rename(spec, {name for name, _ in _sources(spec, feature)})


def _sources(spec: ModelSpec, feature: str) -> set[tuple[str, str | None]]:
    """Columns that a feature is made of, with the view through which each is read (None: the request itself)."""
    declared = spec.features[feature].source or feature
    view_name, dot, inner = declared.partition(".")
    if not dot or view_name not in spec.feature_views:
        return {(declared, None)}
    if inner not in spec.feature_views[view_name].features:
        raise ConfigError(
            f"feature '{feature}' asks view '{view_name}' for '{inner}', which it does not have",
            expected="one of: " + ", ".join(spec.feature_views[view_name].features),
            got=inner,
            hint="correct 'source' of the feature",
        )
    found: set[tuple[str, str | None]] = set()
    waiting, done = [declared], set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        view_name, _, inner = name.partition(".")
        if view_name == "request" or view_name not in spec.feature_views:
            found.add((inner, None))
            continue
        view = spec.feature_views[view_name]
        made = view.features.get(inner)
        if isinstance(made, OnDemandFeature):
            waiting += [n if "." in n else f"{view_name}.{n}" for n in names_read(made.expression)]
        elif made is not None:
            read = {made.column} if made.column is not None else set()
            if isinstance(made, WindowFeature) and made.filter is not None:
                read |= set(names_read(made.filter))
            found |= {(column, view_name) for column in _before_unpivot(spec, view, read)}
    return found


def _before_unpivot(spec: ModelSpec, view: FeatureView, columns: set[str]) -> set[str]:
    names = set(columns)
    for plan in spec.source.unpivot:
        if plan.table == view.table:
            for column in columns:
                names |= set(plan.columns.get(column, ()))
                names |= {plan.key} if column == plan.key else set()
    return names


def _before_rename(spec: ModelSpec, names: set[str]) -> frozenset[str]:
    back = {new: old for old, new in spec.source.rename.items()}
    return frozenset(names | {back[name] for name in names if name in back})


@dataclass(frozen=True, slots=True)
class ForbiddenInput:
    """An input that a guard refuses by its declaration alone.

    Attributes:
        guard: Name of the check.
        feature: Name of the input.
        detail: Why it is refused, by names.
    """

    guard: str
    feature: str
    detail: str

    @property
    def hint(self) -> str | None:
        """What to do about it."""
        return _HINTS.get(self.guard)


def forbidden_inputs(spec: ModelSpec) -> tuple[ForbiddenInput, ...]:
    """Inputs that are a protected attribute, the outcome, a declared leak, an identifier, or restricted."""
    found = [
        ForbiddenInput(guard, feature, f"input '{feature}' comes from '{shared[0]}', {what}")
        for guard, columns, what in _banned(spec)
        for feature in spec.features
        if (shared := sorted(_before_rename(spec, columns) & _judged_origins(spec, feature, guard)))
    ]
    found += [
        ForbiddenInput("restricted_input", name, f"input '{name}' is declared restricted")
        for name, feature in spec.features.items()
        if feature.restricted
    ]
    return tuple(found)


def declared_guards(spec: ModelSpec) -> tuple[Guard, ...]:
    """Guards that need the spec alone; cheap enough for every compile.

    Returns:
        Results of: protected, outcome, leak, restricted and identifier among the inputs.
    """
    found = forbidden_inputs(spec)
    results = []
    for guard, columns, what in _banned(spec):
        hits = [entry.detail for entry in found if entry.guard == guard]
        passed = f"none of {len(spec.features)} inputs comes from {what} ({len(columns)} declared)"
        results.append(Guard(guard, not hits, "; ".join(hits) or passed))
    restricted = [entry.feature for entry in found if entry.guard == "restricted_input"]
    told = "input " + ", ".join(f"'{n}'" for n in restricted) + " is declared restricted"
    results.append(Guard("restricted_input", not restricted, told if restricted else "no input is declared restricted"))
    return tuple(results)


def _judged_origins(spec: ModelSpec, feature: str, guard: str) -> frozenset[str]:
    """Origins that a guard looks at: an outcome that a view shows only once it is final is the past, not a leak."""
    if guard != "outcome_input":
        return origins(spec, feature)
    return _before_rename(
        spec, {name for name, view in _sources(spec, feature) if not (view is not None and _final_first(spec, view))}
    )


def _final_first(spec: ModelSpec, view_name: str) -> bool:
    """Whether a view shows a row only when its outcome is final: horizon and delay after it happened."""
    view, outcome = spec.feature_views[view_name], spec.outcome
    if view.known_delay is None or outcome.horizon_months is None or view.event_time != spec.data.time:
        return False
    return view.known_delay.microseconds >= (31 * outcome.horizon_months + outcome.delay_days) * DAY


def _banned(spec: ModelSpec) -> tuple[tuple[str, set[str], str], ...]:
    """Guard, columns and words of what no input may come from."""
    protected = {a.column for a in spec.fairness.attributes.values()} if spec.fairness is not None else set()
    names = {spec.source.row_key, spec.data.entity, "_row"} - {None}
    return (
        ("protected_input", protected, "a protected attribute"),
        ("outcome_input", {spec.outcome.column}, "the outcome"),
        ("leak_input", set(spec.data.leaks), "a declared leak"),
        ("identifier_input", {str(name) for name in names}, "an identifier"),
    )


def copy_guards(
    inputs: Mapping[str, pa.ChunkedArray], outcome: pa.ChunkedArray, protected: Mapping[str, pa.ChunkedArray]
) -> tuple[Guard, ...]:
    """Guards that look for an input that says the same, value for value, as something forbidden.

    Args:
        inputs: Model inputs, by name.
        outcome: The outcome.
        protected: Raw protected columns, by attribute.
    """
    if len(outcome) < COPY_MINIMUM:
        reason = f"not evaluated: fewer than {COPY_MINIMUM} rows"
        return Guard("outcome_copy", None, reason), Guard("protected_copy", None, reason)
    outcome_hits = [f"input '{name}' is one to one with the outcome" for name, v in inputs.items() if _same(v, outcome)]
    protected_hits = [
        f"input '{name}' is one to one with protected attribute '{attribute}'"
        for name, values in inputs.items()
        for attribute, column in protected.items()
        if _same(values, column)
    ]
    return (
        Guard("outcome_copy", not outcome_hits, "; ".join(outcome_hits) or "no input is one to one with the outcome"),
        Guard(
            "protected_copy",
            not protected_hits,
            "; ".join(protected_hits) or f"no input is one to one with any of {len(protected)} protected attributes",
        ),
    )


def _same(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    first, n_first = _codes(left)
    second, n_second = _codes(right)
    if n_first != n_second or n_first < 2 or 2 * n_first > len(left):  # keys and amounts are unique by nature
        return False
    return int(np.unique(first * n_second + second).size) == n_first


def _codes(column: pa.ChunkedArray) -> tuple[Any, int]:
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().chunk(0)
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def overlap_guard(
    entities: Sequence[str | None] | pa.ChunkedArray | None, samples: Sequence[str]
) -> tuple[Guard, int | None]:
    """No entity may be in a train sample and in a test sample.

    Args:
        entities: Entity of each row, or None where every row is its own entity. Null entities are their own.
        samples: Sample of each row.

    Returns:
        The guard and the number of entities found on both sides (None: no entity declared).
    """
    if entities is None:
        return Guard("entity_overlap", None, "not evaluated: no entity is declared, every row counts as its own"), None
    listed = entities.to_pylist() if isinstance(entities, pa.ChunkedArray | pa.Array) else list(entities)
    sides: dict[str, set[str]] = {"train": set(), "test": set()}
    for entity, sample in zip(listed, samples, strict=True):
        if entity is not None:
            sides["train" if sample in TRAIN else "test"].add(entity)
    both = len(sides["train"] & sides["test"])
    told = f"{both} entities are in both train and test samples" if both else "no entity is in both train and test"
    return Guard("entity_overlap", both == 0, told), both
