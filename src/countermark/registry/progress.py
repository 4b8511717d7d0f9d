"""A pass over the log: what has been accepted so far, and how an entry is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from countermark.records.release import ReleaseRef
from countermark.registry.bodies import AuthorisationBody, ReviewSigned
from countermark.registry.events import Event
from countermark.registry.standing import FindingState, PendingAmendment, Refused, ReleaseState
from countermark.registry.trust import Author, Governance


@dataclass(frozen=True, slots=True)
class Accepted:
    """An entry that took effect: what the witness rule needs to know of it."""

    position: int
    at: datetime
    key: str
    author: Author
    known: frozenset[str]
    type: str = ""
    behind: bool = False
    """Dated before an entry that stands earlier in the log: a revocation had turned its clock back."""

    @property
    def person(self) -> str:
        """Identity of the human being."""
        return self.author.identity


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key that was revoked.

    Attributes:
        key: The public key.
        since: Log position from which it is not believed.
        position: Log position of the revocation itself.
        by: Identity of the person who revoked it.
    """

    key: str
    since: int
    position: int
    by: str


@dataclass(slots=True)
class Run:
    """One pass over the log; grows entry by entry and is thrown away if a later rule voids an entry."""

    governance: Governance
    now: datetime
    events: Sequence[Event] = ()
    revoked: Mapping[str, Revocation] = field(default_factory=dict)
    reached: datetime | None = None
    """The latest date of the entries that took effect."""
    latest: datetime | None = None
    """The latest date so far, void entries included."""
    reasons: dict[int, RefusalError] = field(default_factory=dict)
    """What the rules refuse, whatever dates and revocations say."""
    releases: dict[ReleaseRef, ReleaseState] = field(default_factory=dict)
    findings: dict[str, FindingState] = field(default_factory=dict)
    reviews: list[tuple[Event, ReviewSigned]] = field(default_factory=list)
    amendments: dict[int, PendingAmendment] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    granted: list[tuple[AuthorisationBody, Event]] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)
    accepted: list[Accepted] = field(default_factory=list)


class RefusalError(Exception):
    """An authentic entry may not do what it says. Caught by the fold, never seen outside."""


class DatedError(RefusalError):
    """An entry that stands at the wrong place in time."""


class VoidError(RefusalError):
    """An entry that had an effect until its key was revoked or lapsed."""


class FutureError(RefusalError):
    """An entry that has no effect yet, but would have one when its date comes."""


def refuse_unless(allowed: bool, reason: str) -> None:
    """Refuse the entry with a reason unless it is allowed."""
    if not allowed:
        raise RefusalError(reason)


def need_role(author: Author, *roles: str) -> None:
    """Refuse the entry unless its author has one of these roles."""
    refuse_unless(
        bool(author.roles & set(roles)),
        f"'{author.principal}' has role {', '.join(sorted(author.roles))}; this needs {' or '.join(roles)}",
    )


def tagged(event: Event, *names: str) -> None:
    """Refuse the entry unless it was made with exactly these tags."""
    found = tuple(tag.name for tag in event.tags)
    refuse_unless(found == names, f"its tags are {', '.join(found) or 'none'}; expected {', '.join(names) or 'none'}")


def known_release(made: Run, text: str) -> ReleaseState:
    """The release that an entry speaks of; refuses one that nobody proposed."""
    ref = ReleaseRef.parse(text)
    refuse_unless(ref in made.releases, f"the log knows no release '{ref}'")
    return made.releases[ref]


def current_candidate(made: Run, text: str, position: int) -> ReleaseState:
    """The release whose candidate an entry speaks of; refuses one that is over, or another candidate of it."""
    state = known_release(made, text)
    refuse_unless(state.status in ("candidate", "published"), f"'{text}' is {state.status}")
    refuse_unless(
        position == state.candidate,
        f"it speaks of the candidate at position {position}; the candidate of '{text}' is at {state.candidate}",
    )
    return state
