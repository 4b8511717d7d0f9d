"""Decisions of a period, and what became of them, read from the ledger into columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import DecisionRecord, OutcomeRecord, OverrideRecord, decode


@dataclass(frozen=True, slots=True)
class Production:
    """What the ledger holds of one model up to an instant.

    Attributes:
        model: Name of the model.
        decisions: Decisions, oldest first.
        shadows: Scores of releases that did not answer, by decision id.
        outcomes: Newest final outcome by decision id, as known at the instant.
        overridden: Ids of decisions that a person overrode.
        as_of: The instant.
    """

    model: str
    decisions: tuple[DecisionRecord, ...]
    shadows: Mapping[str, tuple[DecisionRecord, ...]]
    outcomes: Mapping[str, OutcomeRecord]
    overridden: frozenset[str]
    as_of: datetime

    def between(self, days: int, *, until_days: int = 0) -> tuple[DecisionRecord, ...]:
        """Decisions of the ``days`` days that end ``until_days`` days before the instant."""
        end = self.as_of - timedelta(days=until_days)
        first, last = iso(end - timedelta(days=days)), iso(end)
        return tuple(record for record in self.decisions if first < record.at <= last)

    def labelled(self, records: tuple[DecisionRecord, ...]) -> tuple[tuple[DecisionRecord, ...], NDArray[np.float64]]:
        """Those with an outcome, and the outcomes (n,): 0 or 1, or amounts."""
        found = tuple(record for record in records if record.id in self.outcomes)
        return found, np.array([self.outcomes[record.id].value for record in found], dtype=np.float64)


def read_production(ledger: Ledger, as_of: datetime) -> dict[str, Production]:
    """Production of every model on a ledger, by name.

    Only what was known at the instant counts: a decision by its own time, an outcome by when the bank learned of it. Of
    several outcomes of one decision the one learned last holds. An outcome that names no decision is the outcome of the
    only decision about its entity up to when it was observed; where there are several, nobody can say of which.

    Raises:
        LedgerError: If the ledger cannot be read.
    """
    until = iso(as_of)
    decisions: dict[str, list[DecisionRecord]] = {}
    shadows: dict[str, dict[str, list[DecisionRecord]]] = {}
    outcomes: list[OutcomeRecord] = []
    overridden: set[str] = set()
    for entry in ledger.read(["decision", "shadow", "outcome", "override"]):
        if entry.at > until:
            continue
        if entry.kind == "outcome":
            outcome = decode(entry.payload, OutcomeRecord)
            if outcome.final and parse_instant(outcome.known_at) <= as_of:
                outcomes.append(outcome)
        elif entry.kind == "override":
            overridden.add(decode(entry.payload, OverrideRecord).decision)
        else:
            record = decode(entry.payload, DecisionRecord)
            if entry.kind == "decision":
                decisions.setdefault(record.model, []).append(record)
            else:
                shadows.setdefault(record.model, {}).setdefault(record.id, []).append(record)
    return {
        model: Production(
            model,
            tuple(sorted(records, key=lambda record: record.at)),
            {key: tuple(found) for key, found in shadows.get(model, {}).items()},
            _outcomes_of(records, [outcome for outcome in outcomes if outcome.model == model]),
            frozenset(overridden),
            as_of,
        )
        for model, records in sorted(decisions.items())
    }


def _outcomes_of(decisions: Sequence[DecisionRecord], outcomes: Sequence[OutcomeRecord]) -> dict[str, OutcomeRecord]:
    """The outcome of each decision that has one."""
    about: dict[str, list[DecisionRecord]] = {}
    for record in decisions:
        if record.entity is not None:
            about.setdefault(record.entity, []).append(record)
    found: dict[str, OutcomeRecord] = {}
    # Outcomes that name a decision come last: they say more than those that name an entity.
    for outcome in sorted(outcomes, key=lambda o: (o.decision is not None, parse_instant(o.known_at))):
        if outcome.decision is not None:
            found[outcome.decision] = outcome
        else:
            seen = parse_instant(outcome.observed_at)
            before = [record.id for record in about.get(outcome.entity or "", ()) if parse_instant(record.at) <= seen]
            if len(before) == 1:
                found[before[0]] = outcome
    return found
