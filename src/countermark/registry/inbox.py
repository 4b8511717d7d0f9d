"""One queue per person: what waits for them, from the state of the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, get_args

from countermark.errors import RegistryError
from countermark.records.clock import iso
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import ReviewSigned, Role, WaiverBody
from countermark.registry.events import Event
from countermark.registry.rules import barred
from countermark.registry.standing import FindingState, PendingAmendment, ReleaseState, Unwitnessed
from countermark.registry.trust import LINES_OF_CONTROL, Governance, identity_of, lapse, same_person

ROLES: tuple[str, ...] = get_args(Role)
"""Roles of the bank, any of which may own a finding."""

SOON = timedelta(days=30)
"""How long before its end an approval, waiver, control or key is announced."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something that waits for a person.

    Attributes:
        kind: ``approve``, ``waive``, ``publish``, ``assign``, ``amend``, ``finding``, ``expiring``, ``lapsed``,
            ``action``, ``witness``.
        subject: Release, finding, amendment or action that it is about.
        text: One line.
        command: What to type, or None.
        due: ISO date or instant, or None.
    """

    kind: str
    subject: str
    text: str
    command: str | None = None
    due: str | None = None


class View(Protocol):
    """What the inbox reads of a state."""

    @property
    def now(self) -> datetime: ...
    @property
    def governance(self) -> Governance: ...
    @property
    def releases(self) -> Mapping[ReleaseRef, ReleaseState]: ...
    @property
    def findings(self) -> Mapping[str, FindingState]: ...
    @property
    def amendments(self) -> tuple[PendingAmendment, ...]: ...
    @property
    def reviews(self) -> tuple[tuple[Event, ReviewSigned], ...]: ...
    @property
    def unwitnessed(self) -> tuple[Unwitnessed, ...]: ...

    def roles_for(self, ref: ReleaseRef) -> tuple[Role, ...]: ...
    def standing_until(self, ref: ReleaseRef) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class _Person:
    person: str
    principals: tuple[str, ...]
    roles: frozenset[str]

    def answers_to(self, name: str | None) -> bool:
        return name is not None and any(same_person(name, own) for own in (self.person, *self.principals))


def tasks(view: View, who: str) -> tuple[Task, ...]:
    """What waits for a person, decisions first.

    Args:
        view: The state.
        who: A principal or a person.

    Raises:
        RegistryError: If the governance state knows nobody of that name.
    """
    person = _person(view, who)
    found: list[Task] = []
    for source in (_amendments, _releases, _witnesses, _findings, _actions, _expiring):
        found.extend(source(view, person))
    return tuple(found)


def _person(view: View, who: str) -> _Person:
    principals = view.governance.body.principals
    person = next((p.person for p in principals if who == p.principal), None)
    person = person or next((p.person for p in principals if same_person(who, p.person)), None)
    if person is None:
        raise RegistryError(
            f"the governance state knows no '{who}'",
            expected="one of: " + ", ".join(p.principal for p in principals),
            hint="countermark governance show",
        )
    own = [p for p in principals if same_person(p.person, person)]
    return _Person(person, tuple(p.principal for p in own), frozenset(role for p in own for role in p.roles))


def reaches(view: View, who: str, owner: str | None) -> bool:
    """Whether what has this owner waits for this person.

    Raises:
        RegistryError: If the governance state knows nobody of that name.
    """
    return _reaches(view, _person(view, who), owner)


def _reaches(view: View, person: _Person, owner: str | None) -> bool:
    """An owner is a person, a principal, or a role; what nobody bears the name of waits for every model owner."""
    if owner in ROLES:
        return owner in person.roles
    known = any(
        same_person(owner or "", name) for p in view.governance.body.principals for name in (p.principal, p.person)
    )
    return person.answers_to(owner) if known else "owner" in person.roles


def _amendments(view: View, person: _Person) -> Iterator[Task]:
    if not person.roles & LINES_OF_CONTROL:
        return
    for pending in view.amendments:
        if identity_of(person.person) not in pending.persons:
            text = f"{pending.principal} proposes governance version {pending.body.version}"
            yield Task(
                "amend", str(pending.position), text, f"countermark governance amend --approve {pending.position}"
            )


def _releases(view: View, person: _Person) -> Iterator[Task]:
    for ref, state in view.releases.items():
        if state.status == "candidate":
            yield from _candidate(view, person, state)
        elif state.status == "approved" and person.roles & {"engineer", "owner"}:
            yield Task("publish", str(ref), f"{ref} is approved", f"countermark release publish {ref}")
        elif (
            state.status == "published"
            # What somebody took out stays out: whether it comes back is no task of the engineer's.
            and "prod" not in state.taken_out
            and "engineer" in person.roles
            and view.standing_until(ref) is not None
        ):
            yield Task("assign", str(ref), f"{ref} is published, not in prod", f"countermark release assign {ref}")


def _candidate(view: View, person: _Person, state: ReleaseState) -> Iterator[Task]:
    ref = state.ref
    if barred(view.governance, state, person.person) is not None:
        return
    if "risk" in person.roles:
        for gate in state.uncovered(view.now):
            word = "Failed" if gate.light == "fail" else "was Not evaluated"
            yield Task(
                "waive",
                str(ref),
                f"{ref}: {gate.test} {word} and nothing covers it",
                f"countermark finding waive {ref} --test {gate.test} --reason ... --owner ... --expires ...",
            )
    if any(identity_of(person.person) == approval.identity for approval in state.approvals):
        return
    for role in state.missing_roles(view.roles_for(ref), view.now):
        if role in person.roles:
            yield Task(
                "approve",
                str(ref),
                f"{state.proposer} proposes {ref} (tier {state.proposal.tier}, {state.proposal.opinion}); "
                f"your approval as {role} is asked for",
                f"countermark release approve {ref}",
            )


def _findings(view: View, person: _Person) -> Iterator[Task]:
    for finding in view.findings.values():
        if finding.closed is None and _reaches(view, person, finding.body.owner):
            about = finding.body.release or finding.body.model
            text = f"{about}: {finding.body.severity} finding, {finding.body.text}"
            yield Task("finding", finding.id, text, due=finding.body.due)


def _actions(view: View, person: _Person) -> Iterator[Task]:
    done = {name for _, review in view.reviews for name in review.done}
    for _, review in view.reviews:
        for action in review.actions:
            if action.id not in done and person.answers_to(action.owner):
                yield Task("action", action.id, action.text, due=action.due)


def _expiring(view: View, person: _Person) -> Iterator[Task]:
    for subject, owner, what, ends in expiring(view):
        if _reaches(view, person, owner):
            gone = lapse(ends) <= view.now
            yield Task("lapsed" if gone else "expiring", subject, f"{subject}: {what}", due=ends)


def _witnesses(view: View, person: _Person) -> Iterator[Task]:
    """Entries that count no more once their key lapses, for those who could vouch for them before."""
    if not person.roles & LINES_OF_CONTROL:
        return
    over = {str(ref) for ref, state in view.releases.items() if state.status in ("dev", "archived")}
    waiting: dict[str, list[Unwitnessed]] = {}
    for entry in view.unwitnessed:
        own = same_person(entry.person, person.person)
        if entry.lapses <= view.now + SOON and entry.release not in over and not own:
            waiting.setdefault(entry.principal, []).append(entry)
    for principal, entries in waiting.items():
        about = dict.fromkeys(entry.release or entry.type.replace("_", " ") for entry in entries)
        text = f"the key of {principal} lapses; what it signed counts no more then, unless somebody else signs before"
        due = iso(min(entry.lapses for entry in entries))
        yield Task("witness", principal, f"{text}: {', '.join(about)}", "countermark release witness", due)


def expiring(view: View, within: timedelta = SOON) -> Sequence[tuple[str, str, str, str]]:
    """Approvals, conditions, waivers, controls and keys that end soon, or ended, soonest first.

    A waiver or control that ends while its tests are covered for longer is no trouble, and neither is what stands
    behind a release that was taken out of production.

    Returns:
        Subject, the person or owner who is told, what it is, and its expiry as written.
    """
    found: list[tuple[str, str, str, str]] = []
    for ref, state in view.releases.items():
        if state.status in ("dev", "archived") or (state.status == "published" and "prod" in state.taken_out):
            continue
        for approval in state.approvals:
            if approval.body.expires is not None:
                found.append(
                    (str(ref), approval.person, f"approval as {approval.body.role} ends", approval.body.expires)
                )
        found += [(str(ref), c.owner, f"condition ends: {c.text}", c.expires) for c in state.conditions]
        found += [
            (str(ref), w.body.owner, f"waiver of {w.body.test or w.body.finding} ends", w.body.expires)
            for w in state.waivers
            if _needed(view, state, w.body)
        ]
        for control in state.proposal.controls:
            tests = state.hang_on(control.tests, lapse(control.expires), view.now)
            if tests:
                found.append((str(ref), control.owner, f"control of {', '.join(tests)} ends", control.expires))
    for p in view.governance.body.principals:
        found += [(p.principal, p.person, "key lapses", key.expires) for key in p.keys if key.expires is not None]
    soon = [item for item in found if lapse(item[3]) <= view.now + within]
    return sorted(soon, key=lambda item: (lapse(item[3]), item))


def _needed(view: View, state: ReleaseState, waiver: WaiverBody) -> bool:
    """Whether something is not covered any more once a waiver ends."""
    ends = lapse(waiver.expires)
    if waiver.test is not None:
        return bool(state.hang_on((waiver.test,), ends, view.now, hard=True))
    finding = view.findings.get(waiver.finding or "")
    longer = any(w.body.finding == waiver.finding and lapse(w.body.expires) > ends for w in state.waivers)
    return finding is not None and finding.closed is None and not longer
