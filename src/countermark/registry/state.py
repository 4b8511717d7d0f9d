"""What the log says is so: releases, who is trusted, findings, and what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from countermark.errors import RegistryError
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import AuthorisationBody, Condition, ReviewSigned, Role
from countermark.registry.events import Entry, Event
from countermark.registry.inbox import Task, tasks
from countermark.registry.standing import (
    Authorisation,
    FindingState,
    Lost,
    PendingAmendment,
    Refused,
    ReleaseState,
    Unwitnessed,
    blocking_findings,
)
from countermark.registry.trust import Governance


@dataclass(frozen=True, slots=True)
class RegistryState:
    """The fold of a log at some instant.

    Attributes:
        trust_root: Digest of the genesis payload that the log was checked against.
        now: The instant that expiries were judged at.
        governance: The governance state in force.
        releases: Releases by name.
        findings: Findings by id.
        reviews: Signed reviews, oldest first.
        amendments: Amendments without a quorum yet.
        revoked: Position from which each revoked key counts for nothing.
        refused: Authentic entries without effect.
        granted: Authorisations in force, oldest first, lapsed ones included.
        sequences: Last tag number used, by model.
        lost: Releases that were authorised until an entry behind them became void.
        unwitnessed: Entries that will be void when their keys lapse, unless somebody else signs the log before.
        ends: When authorisations end for that reason, by release and environment.
        entries: The log.
        events: The log, read.
        refold: The fold, to look at a prefix of the log.
    """

    trust_root: str
    now: datetime
    governance: Governance
    releases: Mapping[ReleaseRef, ReleaseState]
    findings: Mapping[str, FindingState]
    reviews: tuple[tuple[Event, ReviewSigned], ...]
    amendments: tuple[PendingAmendment, ...]
    revoked: Mapping[str, int]
    refused: tuple[Refused, ...]
    granted: tuple[tuple[AuthorisationBody, Event], ...]
    sequences: Mapping[str, int]
    lost: tuple[Lost, ...]
    unwitnessed: tuple[Unwitnessed, ...]
    ends: Mapping[tuple[str, str], datetime]
    entries: tuple[Entry, ...] = field(repr=False)
    events: tuple[Event, ...] = field(repr=False)
    refold: Callable[[Sequence[Entry], str, datetime], RegistryState] = field(repr=False)

    @property
    def position(self) -> int:
        """Position of the last entry."""
        return len(self.entries) - 1

    @property
    def head(self) -> str:
        """Digest of the last entry."""
        return self.entries[-1].digest

    def release(self, ref: ReleaseRef) -> ReleaseState:
        """One release.

        Raises:
            RegistryError: If the log does not know it.
        """
        if ref not in self.releases:
            known = sorted((r for r in self.releases if r.model == ref.model), key=lambda r: r.order)
            raise RegistryError(
                f"the log knows no release '{ref}'",
                expected="one of: " + ", ".join(map(str, known)) if known else f"a proposed release of '{ref.model}'",
                hint=f"countermark release propose {ref.model}",
            )
        return self.releases[ref]

    def roles_for(self, ref: ReleaseRef) -> tuple[Role, ...]:
        """Roles that must approve a release: those of its publication, or of the governance now in force."""
        state = self.releases[ref]
        if state.publication is not None:
            return state.publication.roles
        return self.governance.roles_for(state.proposal.tier)

    def standing_until(self, ref: ReleaseRef) -> datetime | None:
        """When the approvals and covers behind a release end, or None if they do not stand now."""
        state = self.releases[ref]
        quorum = state.quorum_lapse(self.roles_for(ref), self.now)
        if quorum is None:
            return None
        ends = [quorum]
        for gate in state.proposal.gates:
            cover = state.cover_of(gate, self.now)
            if cover is None:
                return None
            ends.append(cover)
        return min(ends)

    def authorised(self, model: str, environment: str = "prod") -> tuple[Authorisation, ...]:
        """Releases of a model that may be used in an environment, in the order in which they were authorised.

        A release whose approvals, waivers or controls have lapsed is not among them.
        """
        found: list[Authorisation] = []
        for body, event in self.granted:
            ref = ReleaseRef.parse(body.release)
            if ref.model != model or body.environment != environment:
                continue
            publication, until = self.releases[ref].publication, self.standing_until(ref)
            if publication is None or until is None:
                continue
            until = min(until, self.ends.get((body.release, environment), until))
            tag = event.tags[0].object
            found.append(
                Authorisation(
                    ref, publication.bundle_digest, event.position, tag, body.sequence, environment, event.at, until
                )
            )
        return tuple(found)

    def lapsed(self, model: str, environment: str = "prod") -> tuple[ReleaseRef, ...]:
        """Releases that were authorised and whose approvals, waivers or controls have ended."""
        refs = [ReleaseRef.parse(body.release) for body, _ in self.granted if body.environment == environment]
        return tuple(ref for ref in refs if ref.model == model and self.standing_until(ref) is None)

    @property
    def models(self) -> tuple[str, ...]:
        """Models with a release, sorted."""
        return tuple(sorted({ref.model for ref in self.releases}))

    def open_findings(self, model: str) -> tuple[FindingState, ...]:
        """Open findings of a model, in the order in which they were opened."""
        return tuple(f for f in self.findings.values() if f.body.model == model and f.closed is None)

    def blocking(self, ref: ReleaseRef, extra: Sequence[Condition] = ()) -> tuple[FindingState, ...]:
        """Open critical and high findings of a release, or of its model as a whole, that nothing covers."""
        return blocking_findings(self.findings, self.releases[ref], self.now, extra)

    def tasks(self, who: str) -> tuple[Task, ...]:
        """What waits for a principal or person, decisions first.

        Raises:
            RegistryError: If the governance state knows nobody of that name.
        """
        return tasks(self, who)

    def next_sequence(self, model: str) -> int:
        """Number of the model's next authorisation tag."""
        return self.sequences.get(model, 0) + 1

    def at(self, position: int | None = None, time: datetime | None = None) -> RegistryState:
        """The state as it was at a log position, or at an instant: the fold of that much of the log.

        Args:
            position: Last position to count.
            time: Instant; entries with a later date are left out, and expiries are judged at it.

        Raises:
            RegistryError: If there was no log yet, or both or neither are given.
        """
        if (position is None) == (time is None):
            raise RegistryError("a past state is asked for by position or by time", expected="one of the two")
        if position is not None:
            if not 0 <= position < len(self.entries):
                raise RegistryError("the log has no such position", expected=f"0 to {self.position}", got=str(position))
            return self.refold(self.entries[: position + 1], self.trust_root, self.events[position].at)
        count = len(self.events)
        prefix = next((i for i, event in enumerate(self.events) if time is None or event.at > time), count)
        if time is None or prefix == 0:
            raise RegistryError("there was no log yet at that time", expected=f"{self.events[0].at} or later")
        return self.refold(self.entries[:prefix], self.trust_root, time)
