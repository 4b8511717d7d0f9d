"""Replay of one decision: pure comparison under a thin shell that fetches what is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from countermark.errors import CountermarkError, ReplayError
from countermark.ledger.entry import Entry
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import (
    DecisionRecord,
    DispositionRecord,
    OutcomeRecord,
    OverrideRecord,
    ReleaseBinding,
    decode,
)
from countermark.registry.directory import ServingDirectory
from countermark.registry.standing import Authorisation
from countermark.registry.state import RegistryState
from countermark.replay.place import Place, Places
from countermark.scoring.decider import Decided
from countermark.scoring.release import OpenRelease, open_release

LATE = timedelta(seconds=60)
"""How long after a withdrawal a server may still answer: it reads the log again every few seconds."""

TagReader = Callable[[str], str | None]
"""Object id of a tag by its name; None where there is no such tag."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was recorded.

    Attributes:
        what: ``ledger``, ``checkpoint``, ``release``, ``tag``, ``bundle``, ``scorer``, ``decision policy``,
            ``features``, ``margin``, ``probability``, ``grade``, ``decision`` or ``reasons``.
        recorded: What the ledger says.
        found: What is found now.
    """

    what: str
    recorded: str
    found: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of a replay.

    Attributes:
        id: Id of the decision.
        record: What was recorded; None where the ledger's entry was changed.
        entry: The entry on the ledger, or None.
        decided: What the release says now; None where it could not be asked.
        release: The release that was asked, opened.
        differences: What differs; empty when every bit is the same.
        authorisation: What the signed log says of the release that answered; None where it knows no such thing.
        place: Where the entry stands on the ledger, and who witnesses it; None where the entry itself was changed.
        outcomes: What became of it.
        overrides: Decisions of people in its place.
        dispositions: What an alert came to.
    """

    id: str
    record: DecisionRecord | None
    entry: Entry | None
    decided: Decided | None
    release: OpenRelease | None
    differences: tuple[Difference, ...]
    authorisation: Authorisation | None = None
    place: Place | None = None
    outcomes: tuple[OutcomeRecord, ...] = ()
    overrides: tuple[OverrideRecord, ...] = ()
    dispositions: tuple[DispositionRecord, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether the decision was reproduced to the last bit."""
        return not self.differences and self.decided is not None


class Replayer:
    """Replays decisions of one ledger against the releases of one serving directory.

    Args:
        ledger: The ledger.
        directory: The serving directory.
        state: The fold of its signed log.
        tags: Reads the tags of the bank's git repository, to find one that was moved; None where there is no git.
    """

    def __init__(
        self, ledger: Ledger, directory: ServingDirectory, state: RegistryState, *, tags: TagReader | None = None
    ) -> None:
        self._ledger = ledger
        self._directory = directory
        self._tags = tags
        self._places = Places(ledger, state)
        self.state = state
        self._open: dict[str, OpenRelease] = {}
        self._then: dict[int, RegistryState] = {}

    def replay(self, identity: str) -> Replayed:
        """Replay a decision.

        Raises:
            ReplayError: If the ledger has no decision of this id.
            LedgerError: If the ledger cannot be read at all.
        """
        try:
            found = self._ledger.get("decision", identity)
        except CountermarkError as error:
            return _broken(identity, "ledger", error)
        if not found:
            raise ReplayError(
                f"the ledger has no decision '{identity}'", hint="a shadow score has the id of the decision it pairs"
            )
        entry = found[0]
        try:
            record = decode(entry.payload, DecisionRecord)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _broken(identity, "ledger", ReplayError("the entry is no decision record", got=str(error)[:200]))
        place = self._places.of(entry)
        moved = tuple(Difference(*differs) for differs in place.differences)
        compared = self._compare(record, entry)
        return replace(compared, place=place, differences=(*moved, *compared.differences))

    def sample(self, identities: Iterable[str]) -> list[Replayed]:
        """Replay several; releases are opened once."""
        return [self.replay(identity) for identity in identities]

    def _compare(self, record: DecisionRecord, entry: Entry) -> Replayed:
        authorisation, differences = self._release(record)
        try:
            release = self._opened(record.release.bundle)
        except CountermarkError as error:
            broken = Difference("bundle", record.release.bundle, _said(error))
            return Replayed(record.id, record, entry, None, None, (*differences, broken), authorisation)
        differences += _digests(record, release)
        decided: Decided | None = None
        try:
            decided = release.decider.decide(record.features)
        except CountermarkError as error:
            differences.append(Difference("features", "a vector that was scored", _said(error)))
        if decided is not None:
            differences += compare_bits(record, decided)
        return Replayed(record.id, record, entry, decided, release, tuple(differences), authorisation)

    def with_afterlife(self, replayed: Replayed) -> Replayed:
        """The same, with what became of the decision."""
        get, key = self._ledger.get, replayed.id
        return replace(
            replayed,
            outcomes=tuple(decode(e.payload, OutcomeRecord) for e in get("outcome", key)),
            overrides=tuple(decode(e.payload, OverrideRecord) for e in get("override", key)),
            dispositions=tuple(decode(e.payload, DispositionRecord) for e in get("disposition", key)),
        )

    def _opened(self, digest: str) -> OpenRelease:
        if digest not in self._open:
            self._open[digest] = open_release(self._directory.bundle(digest))
        return self._open[digest]

    def _release(self, record: DecisionRecord) -> tuple[Authorisation | None, list[Difference]]:
        """Whether the signed log, as it stood then, allowed this bundle to answer."""
        bound = record.release
        if not 0 <= bound.position <= self.state.position:
            ends = f"the log ends at {self.state.position}"
            return None, [Difference("release", f"log position {bound.position}", ends)]
        found = self._authorised(bound)
        if found is None:
            return None, [
                Difference("release", f"authorised at log position {bound.position}", "no such authorisation")
            ]
        compared = [
            ("release", f"{bound.model}@v{bound.version}", str(found.ref)),
            ("bundle", bound.bundle, found.bundle_digest),
            ("tag", bound.tag_object, found.tag_object),
        ]
        if self._tags is not None:
            name = f"{found.ref.model}#{found.environment}#{found.sequence}"
            compared.append(("tag", f"{name} is {found.tag_object}", f"{name} is {self._tags(name) or 'gone'}"))
        differences = [Difference(what, then, now) for what, then, now in compared if then != now]
        ended = self._ended(found)
        if ended is not None and parse_instant(record.at) > ended + LATE:
            differences.append(Difference("release", f"answered at {record.at}", f"authorised until {iso(ended)}"))
        return found, differences

    def _authorised(self, bound: ReleaseBinding) -> Authorisation | None:
        then = self._then.get(bound.position)
        if then is None:
            then = self._then[bound.position] = self.state.at(position=bound.position)
        environments = [body.environment for body, event in then.granted if event.position == bound.position]
        known = [a for name in environments for a in then.authorised(bound.model, name)]
        return next((found for found in known if found.position == bound.position), None)

    def _ended(self, found: Authorisation) -> datetime | None:
        """When an authorisation was withdrawn or lapsed; None while it stands."""
        if any(event.position == found.position for _, event in self.state.granted):
            standing = self.state.authorised(found.ref.model, found.environment)
            return None if any(now.position == found.position for now in standing) else found.lapses
        without = {refused.position for refused in self.state.refused}
        return next(
            (
                event.at
                for event in self.state.events[found.position + 1 :]
                if event.type in ("deauthorisation", "retirement")
                and event.position not in without
                and event.body["release"] == str(found.ref)
                and event.body.get("environment", found.environment) == found.environment
            ),
            None,
        )


def _digests(record: DecisionRecord, release: OpenRelease) -> Iterable[Difference]:
    for what, recorded, found in (
        ("scorer", record.digests.scorer, release.scorer_digest),
        ("decision policy", record.digests.decision_policy, release.policy_digest),
    ):
        if recorded != found:
            yield Difference(what, recorded, found)


def compare_bits(record: DecisionRecord, decided: Decided) -> list[Difference]:
    """Compare what was recorded with what is decided now: float64 by their bits, texts by their letters."""
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("margin", record.margin, decided.margin.hex()),
        ("probability", record.p, decided.p.hex()),
        ("grade", record.grade, decided.grade),
        ("decision", record.decision, decided.decision),
        ("reasons", record.reasons, decided.reasons),
    )
    return [Difference(what, _shown(then), _shown(now)) for what, then, now in pairs if then != now]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "; ".join(f"{reason.code} {reason.contribution}" for reason in value) or "none"
    return "none" if value is None else str(value)


def _said(error: CountermarkError) -> str:
    return " ".join(str(error).split())


def _broken(identity: str, what: str, error: CountermarkError) -> Replayed:
    return Replayed(identity, None, None, None, None, (Difference(what, "an unchanged entry", _said(error)),))
