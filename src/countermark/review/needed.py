"""Which decisions people must take, and how pressing each is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from countermark.monitoring.findings import NO_PLAN
from countermark.records.lights import Light
from countermark.records.review import Expiring, Needed, ReplayedSample, ReviewAction, ReviewModel
from countermark.registry.inbox import Task
from countermark.registry.state import RegistryState
from countermark.registry.trust import lapse
from countermark.rollout.live import Standing

WAITED = timedelta(days=7)
"""A candidate that has waited this long is decided today."""
_TASKS = ("approve", "waive", "publish", "assign", "amend")
_PRESSING = {Light.FAIL: 0, Light.WATCH: 1}
_ORDER = (
    "replay",
    "ledger",
    "bundle",
    "rollout",
    "breach",
    "finding",
    "expiring",
    "action",
    *_TASKS,
    "promote",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether what was decided and written is still what it was.

    Attributes:
        replayed: Decisions decided again.
        damage: Entries that were changed after they were written, in words.
    """

    replayed: ReplayedSample | None
    damage: tuple[str, ...]


def needed(
    state: RegistryState,
    standings: Sequence[Standing],
    models: Sequence[ReviewModel],
    actions: Sequence[ReviewAction],
    expiring: Sequence[Expiring],
    proof: Proof,
) -> tuple[Needed, ...]:
    """Everything that waits for a decision, most pressing first.

    Args:
        state: The fold of the release log.
        standings: Authorised beside live.
        models: The production models, as the review shows them.
        actions: Actions of earlier reviews.
        expiring: What ends soon.
        proof: Whether decisions and ledger are what they were.
    """
    found = [
        *_replay(proof.replayed),
        *_damage(proof.damage),
        *_rollouts(state, standings),
        *_models(models, state.now),
        *_expired(expiring, state.now),
        *_overdue(actions),
        *_tasks(state),
    ]
    return tuple(sorted(found, key=lambda n: (_PRESSING.get(n.light, 2), _ORDER.index(n.kind), n.subject, n.text)))


def owner_of(state: RegistryState, model: str) -> str:
    """Owner of a model, as its newest proposal names them."""
    found = [r for ref, r in state.releases.items() if ref.model == model]
    return max(found, key=lambda r: r.candidate).proposal.owner if found else ""


def _replay(replayed: ReplayedSample | None) -> Iterator[Needed]:
    if replayed is not None and replayed.different:
        names = ", ".join(identity for identity, _ in replayed.different[:3])
        yield Needed(
            kind="replay",
            light=Light.FAIL,
            subject="Replay",
            text=f"{len(replayed.different)} of {replayed.drawn} decisions were not reproduced: {names}. Find out why.",
            owner="",
            command=f"countermark replay {replayed.different[0][0]}",
        )


def _damage(damage: Sequence[str]) -> Iterator[Needed]:
    if damage:
        more = f" And {len(damage) - 1} more." if len(damage) > 1 else ""
        yield Needed(
            kind="ledger",
            light=Light.FAIL,
            subject="Ledger",
            text=_sentence(damage[0]) + f"{more} What it says now was left out. Find out why.",
            owner="",
            command="countermark ledger verify",
        )


def _rollouts(state: RegistryState, standings: Sequence[Standing]) -> Iterator[Needed]:
    for model in standings:
        last = model.rollout
        open_end = last is not None and last.ended in ("rolled_back", "inconclusive") and not last.reconciled
        for k, told in enumerate(model.divergences):
            ended = open_end and last is not None and last.candidate in told
            nothing = model.silent and k == 0
            text = _sentence(f"Release {told}" if told[:1].isdigit() else told)
            yield Needed(
                kind="rollout",
                light=Light.FAIL if ended or nothing else Light.WATCH,
                subject=model.model,
                text=text + (" Authorised and live differ until somebody decides." if ended else ""),
                owner=owner_of(state, model.model),
                command=f"countermark rollout reconcile {model.model} --reason ..."
                if ended
                else None
                if not model.authorised
                else f"countermark rollout start {model.model}@v{model.authorised[-1]}",
            )


def _models(models: Sequence[ReviewModel], now: datetime) -> Iterator[Needed]:
    for model in models:
        for release, why in model.damaged:
            yield Needed(
                kind="bundle",
                light=Light.FAIL,
                subject=release,
                text=_sentence(f"the bundle cannot be opened: {why}") + " Find out why, and put it back.",
                owner=model.owner,
                command=f"countermark verify {release}",
            )
        breaches = [f for f in model.live_findings if f.light is Light.FAIL and f.check != NO_PLAN]
        if breaches:
            more = f" And {len(breaches) - 1} more below." if len(breaches) > 1 else ""
            owners = ", ".join(dict.fromkeys(f.owner for f in breaches))
            yield Needed(
                kind="breach",
                light=Light.FAIL,
                subject=model.model,
                text=f"Out of limits on {breaches[0].at[:10]}: {breaches[0].text}.{more} Accept, mend or roll back?",
                owner=owners,
            )
        for finding in model.log_findings:
            late = finding.due is not None and lapse(finding.due) <= now
            if late or finding.severity in ("critical", "high"):
                yield Needed(
                    kind="finding",
                    light=Light.FAIL if late or finding.severity == "critical" else Light.WATCH,
                    subject=model.model,
                    text=f"{finding.severity.capitalize()} finding {finding.id} is "
                    f"{'overdue' if late else 'open'} since {finding.opened[:10]}: {finding.text}",
                    owner=finding.owner,
                    due=finding.due,
                )
        if model.challenge is not None and model.challenge.verdict == "better":
            yield Needed(
                kind="promote",
                light=Light.WATCH,
                subject=model.model,
                text=f"Challenger v{model.challenge.challenger} ranks better on matured decisions. Propose it?",
                owner=model.owner,
                command=f"countermark release propose {model.model} --evidence ...",
            )
        yield from _watched(model)


def _watched(model: ReviewModel) -> Iterator[Needed]:
    # What answers nothing has nothing to be watched.
    if model.live is None or (model.planned and model.window is not None):
        return
    plan = f"No monitoring plan: nothing watches it. Write conf/monitor/{model.model}.yaml, or retire it?"
    yield Needed(
        kind="watch",
        light=Light.WATCH if model.planned else Light.FAIL,
        subject=model.model,
        text="No monitoring run in the last seven days: nothing is known of it." if model.planned else plan,
        owner=model.owner,
        command=f"countermark monitor run {model.model}",
    )


def _expired(expiring: Sequence[Expiring], now: datetime) -> Iterator[Needed]:
    for item in expiring:
        what = item.what.replace(" ends", " has ended", 1) if item.lapsed else item.what
        if item.lapsed or soon(item.ends, now):
            yield Needed(
                kind="expiring",
                light=Light.FAIL if item.lapsed else Light.WATCH,
                subject=item.subject,
                text=_sentence(what) + " Renew it, or let it go?",
                owner=item.owner,
                due=item.ends[:10],
            )


def _overdue(actions: Sequence[ReviewAction]) -> Iterator[Needed]:
    for action in actions:
        if action.status == "overdue":
            yield Needed(
                kind="action",
                light=Light.FAIL,
                subject=action.model or action.id,
                text=f"Overdue action {action.id}: {action.text}",
                owner=action.owner,
                due=action.due,
            )


def _tasks(state: RegistryState) -> Iterator[Needed]:
    """What waits for several people, or for several roles, is one decision."""
    found: dict[tuple[str, str, str], tuple[Task, list[str], list[str]]] = {}
    for principal in state.governance.body.principals:
        for task in state.tasks(principal.principal):
            if task.kind not in _TASKS:
                continue
            text, _, role = task.text.removesuffix(" is asked for").partition("; your approval as ")
            _, people, roles = found.setdefault((task.kind, task.subject, text), (task, [], []))
            if principal.person not in people:
                people.append(principal.person)
            if role and role not in roles:
                roles.append(role)
    for (kind, subject, text), (task, people, roles) in found.items():
        yield Needed(
            kind=kind,
            light=Light.FAIL if _waited(state, subject) else Light.WATCH,
            subject=subject,
            text=_sentence(text + (f"; approval as {' and '.join(roles)} is missing" if roles else "")),
            owner=", ".join(people),
            due=task.due,
            command=task.command,
        )


def _waited(state: RegistryState, subject: str) -> bool:
    release = next((r for ref, r in state.releases.items() if str(ref) == subject), None)
    return release is not None and state.now - release.proposed_at >= WAITED


def _sentence(text: str) -> str:
    # The name of a release or a model is spelt as it is, also at the beginning of a sentence.
    named = any(sign in text.split(" ", 1)[0] for sign in "@_/")
    return (text if named else text[:1].upper() + text[1:]) + ("" if text.endswith((".", "?")) else ".")


def soon(ends: str, now: datetime) -> bool:
    """Whether something ends within a week, or has ended."""
    return lapse(ends) <= now + WAITED


def overdue(due: str, now: datetime) -> bool:
    """Whether a date lies wholly in the past."""
    return lapse(due) <= now
