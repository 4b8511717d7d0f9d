"""Decisions of a period, and what became of them, read from the ledger into columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from countermark.errors import MonitoringError
from countermark.ledger.checkpoint import Checkpoint
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import DecisionRecord, OutcomeRecord, OverrideRecord, decode
from countermark.records.outcomes import EARLIEST, date_problem, value_problem
from countermark.scoring.decider import VALUE_ONLY

_Known = tuple[datetime, OutcomeRecord]
"""When the bank learned of an outcome, and the outcome."""

_Whose = tuple[Literal["decision", "entity"], str]
"""A decision or an entity."""


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
        checkpoint: Digest of the checkpoint of the ledger that bounds what was known at the instant; None where no
            checkpoint has been taken since.
        told: Instants at which the bank learned of a final outcome, ISO text, oldest first.
        odd: Of those, the outcomes that cannot be one of this model and that none reported later corrects: set aside.
    """

    model: str
    decisions: tuple[DecisionRecord, ...]
    shadows: Mapping[str, tuple[DecisionRecord, ...]]
    outcomes: Mapping[str, OutcomeRecord]
    overridden: frozenset[str]
    as_of: datetime
    checkpoint: str | None = None
    told: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()

    def between(self, days: int, *, until_days: int = 0) -> tuple[DecisionRecord, ...]:
        """Decisions of the ``days`` days that end ``until_days`` days before the instant."""
        end = self.as_of - timedelta(days=until_days)
        first, last = iso(end - timedelta(days=days)), iso(end)
        return tuple(record for record in self.decisions if first < record.at <= last)

    def odd_within(self, days: int) -> tuple[int, int]:
        """Outcomes that were learned in the last ``days`` days and are set aside, and all that were learned then."""
        first = iso(self.as_of - timedelta(days=days))
        return sum(at > first for at in self.odd), sum(at > first for at in self.told)

    def labelled(self, records: tuple[DecisionRecord, ...]) -> tuple[tuple[DecisionRecord, ...], NDArray[np.float64]]:
        """Those with an outcome, and the outcomes (n,): 0 or 1, or amounts."""
        found = tuple(record for record in records if record.id in self.outcomes)
        return found, np.array([self.outcomes[record.id].value for record in found], dtype=np.float64)


def first_checkpoint(ledger: Ledger, as_of: datetime, now: datetime | None = None) -> Checkpoint | None:
    """The first checkpoint taken at an instant or after it: what it does not cover was written after the instant.

    Args:
        ledger: The ledger.
        as_of: The instant.
        now: The present; a checkpoint that bears a later date bounds nothing. None believes every date.

    Raises:
        LedgerError: If the ledger cannot be read.
    """
    first, last = iso(as_of), None if now is None else iso(now)
    taken = [
        Checkpoint.from_json(entry.payload)
        for entry in ledger.read(["checkpoint"])
        if entry.at >= first and (last is None or entry.at <= last)
    ]
    return min(taken, key=lambda one: one.at, default=None)


def require_past(as_of: datetime, now: datetime) -> None:
    """Refuse an instant that has not come.

    Raises:
        MonitoringError: If it lies in the future.
    """
    if as_of > now:
        raise MonitoringError("nothing is known of the future", expected=f"an instant up to {iso(now)}", got=iso(as_of))


def pin(ledger: Ledger, as_of: datetime, now: datetime) -> Checkpoint | None:
    """Take a checkpoint unless one bounds an instant already: figures of the instant are the same for ever after.

    Args:
        ledger: The ledger, to read and to append to.
        as_of: The instant.
        now: The present.

    Returns:
        The checkpoint that bounds the instant; None for an empty ledger.

    Raises:
        MonitoringError: If the instant lies in the future.
        LedgerError: If the ledger cannot be read or written.
    """
    require_past(as_of, now)
    found = first_checkpoint(ledger, as_of, now)
    if found is not None or not ledger.heads():
        return found
    return ledger.checkpoint(iso(now))


def read_production(ledger: Ledger, as_of: datetime, now: datetime | None = None) -> dict[str, Production]:
    """Production of every model on a ledger, by name.

    Only what was known at the instant counts: a decision by its own time, once it was written; an outcome by when the
    bank learned of it. An entry that the first checkpoint since the instant does not cover was written later, whatever
    date it bears. Of several outcomes of one decision the one learned last holds, whether it names the decision or the
    entity. One that names no decision is the outcome of the only decision about its entity up to when it was observed;
    where there are several, nobody can say of which. What cannot be an outcome of its model (a third value of an event,
    a date that has not come) is set aside and counted.

    Args:
        ledger: The ledger.
        as_of: The instant.
        now: The present; see ``first_checkpoint``.

    Raises:
        LedgerError: If the ledger cannot be read, or an entry was changed after it was written.
    """
    until, bound = iso(as_of), first_checkpoint(ledger, as_of, now)
    sizes = None if bound is None else {chain: head.size for chain, head in bound.chains.items()}
    decisions: dict[str, list[DecisionRecord]] = {}
    shadows: dict[str, dict[str, list[DecisionRecord]]] = {}
    outcomes: dict[str, list[_Known]] = {}
    overridden: set[str] = set()
    for entry in ledger.read(["decision", "shadow", "outcome", "override"]):
        if entry.at > until or (sizes is not None and entry.seq >= sizes.get(entry.chain, 0)):
            continue
        if entry.kind == "outcome":
            outcome = decode(entry.payload, OutcomeRecord)
            known = _known(outcome, entry.at)
            if outcome.final and known <= as_of:
                outcomes.setdefault(outcome.model, []).append((known, outcome))
        elif entry.kind == "override":
            overridden.add(decode(entry.payload, OverrideRecord).decision)
        else:
            record = decode(entry.payload, DecisionRecord)
            if entry.kind == "decision":
                decisions.setdefault(record.model, []).append(record)
            else:
                shadows.setdefault(record.model, {}).setdefault(record.id, []).append(record)
    found: dict[str, Production] = {}
    for model, records in sorted(decisions.items()):
        told = outcomes.get(model, [])
        # What a model without a policy says of a case is an amount; every other model decides, and is about events.
        amounts = any(record.decision == VALUE_ONLY for record in records)
        good, odd = _sorted_out(told, _Abouts(records), amounts=amounts)
        found[model] = Production(
            model,
            tuple(sorted(records, key=lambda record: record.at)),
            {key: tuple(scores) for key, scores in shadows.get(model, {}).items()},
            good,
            frozenset(overridden),
            as_of,
            None if bound is None else bound.digest,
            tuple(sorted(iso(known) for known, _ in told)),
            odd,
        )
    return found


def _known(outcome: OutcomeRecord, written: str) -> datetime:
    """When the bank learned of an outcome: as it says, or where that is no date, when it was written."""
    try:
        return parse_instant(outcome.known_at)
    except ValueError:
        return parse_instant(written)


def _possible(outcome: OutcomeRecord, known: datetime, *, amounts: bool) -> bool:
    try:
        parse_instant(outcome.known_at)
        observed = parse_instant(outcome.observed_at)
    except ValueError:
        return False
    return date_problem(observed, known) is None and value_problem(outcome.value, amounts=amounts) is None


class _Abouts:
    """Says which decision an outcome is about.

    Args:
        decisions: The decisions of a model.
    """

    def __init__(self, decisions: Sequence[DecisionRecord]) -> None:
        self._of: dict[str, list[DecisionRecord]] = {}
        for record in decisions:
            if record.entity is not None:
                self._of.setdefault(record.entity, []).append(record)

    def decision(self, outcome: OutcomeRecord) -> str | None:
        """The decision that it names, or the only one about its entity up to when it was observed."""
        if outcome.decision is not None:
            return outcome.decision
        try:
            seen = parse_instant(outcome.observed_at)
        except ValueError:
            return None
        before = [one.id for one in self._of.get(outcome.entity or "", ()) if parse_instant(one.at) <= seen]
        return before[0] if len(before) == 1 else None


def _sorted_out(
    told: Sequence[_Known], about: _Abouts, *, amounts: bool
) -> tuple[dict[str, OutcomeRecord], tuple[str, ...]]:
    """The outcome of each decision that has one, and when those were learned that cannot be one and that none learned
    since corrects: none of the same decision, and none that names the same entity.
    """
    found: dict[str, OutcomeRecord] = {}
    bad: list[_Known] = []
    last: dict[_Whose, datetime] = {}
    # Of two that were learned at one instant the one that names the decision says more.
    for known, outcome in sorted(told, key=lambda one: (one[0], one[1].decision is not None)):
        if not _possible(outcome, known, amounts=amounts):
            bad.append((known, outcome))
            continue
        decision = about.decision(outcome)
        if decision is not None:
            found[decision] = outcome
        last.update(dict.fromkeys(_whose(outcome, decision), known))
    standing = [
        known
        for known, one in bad
        if all(last.get(whose, EARLIEST) <= known for whose in _whose(one, about.decision(one)))
    ]
    return found, tuple(sorted(iso(known) for known in standing))


def _whose(outcome: OutcomeRecord, decision: str | None) -> Iterator[_Whose]:
    """What an outcome is known by: the decision it is about, and the entity where it names no decision."""
    if decision is not None:
        yield "decision", decision
    if outcome.decision is None:
        yield "entity", outcome.entity or ""
