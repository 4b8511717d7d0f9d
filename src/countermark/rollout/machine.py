"""The state of a rollout as a fold of its events, and what happens next: pure, the same for whoever looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from countermark.config.rollout import RolloutPlan, Stay
from countermark.errors import RolloutError
from countermark.records.clock import iso, parse_instant
from countermark.rollout.events import GuardReading, RolloutEvent

SHADOW, FULL = "shadow", "full"
STANDING = ("challenger_named", "challenger_dismissed")
"""Events that are no part of a rollout."""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One rollout.

    Attributes:
        id: Its id.
        model: Name of the model.
        champion: Version in force before; None where the model has never answered.
        candidate: Version that takes over.
        plan: The plan it was started with.
        stage: ``shadow``, ``canary 5%`` or ``full``; where it ended, the stage in which it did.
        share: Share of entities that the candidate answers.
        started: When it was started.
        entered: When the present stage was entered.
        ended: Type of the event that ended it, or None while it runs.
        reconciled: Whether a person has dealt with the end.
        events: What happened, oldest first.
    """

    id: str
    model: str
    champion: str | None
    candidate: str
    plan: RolloutPlan
    stage: str
    share: float
    started: datetime
    entered: datetime
    ended: str | None = None
    reconciled: bool = False
    events: tuple[RolloutEvent, ...] = ()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None

    @property
    def stay(self) -> Stay:
        """What the present stage waits for."""
        return self.plan.shadow if self.stage == SHADOW or self.plan.step is None else self.plan.step


def fold(events: Iterable[RolloutEvent]) -> dict[str, RolloutState]:
    """Rollouts by id, in order of their start.

    Args:
        events: Events in the order of the ledger.

    Raises:
        RolloutError: If an event does not follow from those before it: the ledger was written by something else.
    """
    found: dict[str, RolloutState] = {}
    for event in events:
        if event.type not in STANDING and event.type != "refused":
            found[event.rollout] = follow(found, event)
    return found


def follow(states: Mapping[str, RolloutState], event: RolloutEvent) -> RolloutState:
    """The rollout of an event after it.

    Args:
        states: Every rollout before it, by id.
        event: The event.

    Raises:
        RolloutError: If the event does not follow from those before it.
    """
    state = states.get(event.rollout)
    if state is not None:
        return _after(state, event)
    running = next((one.id for one in states.values() if one.model == event.model and one.running), None)
    if event.type == "started" and running is not None:
        raise _impossible(event, f"one rollout of a model at a time, and {running} runs")
    return _started(event)


def challenger_event(
    model: str, champion: str | None, version: str, *, now: datetime, by: str, dismiss: bool = False
) -> RolloutEvent:
    """The event that makes a version the standing challenger of a model, or ends that."""
    return RolloutEvent(
        rollout=f"challenger-{model}",
        model=model,
        type="challenger_dismissed" if dismiss else "challenger_named",
        at=iso(now),
        by=by,
        stage=SHADOW,
        share=0.0,
        champion=champion,
        candidate=version,
    )


def _started(event: RolloutEvent) -> RolloutState:
    if event.type != "started" or event.plan is None:
        raise _impossible(event, "a rollout begins with 'started' and its plan")
    at = parse_instant(event.at)
    return RolloutState(
        id=event.rollout,
        model=event.model,
        champion=event.champion,
        candidate=event.candidate,
        plan=RolloutPlan.model_validate(event.plan),
        stage=event.stage,
        share=event.share,
        started=at,
        entered=at,
        events=(event,),
    )


def _after(state: RolloutState, event: RolloutEvent) -> RolloutState:
    same = (event.model, event.champion, event.candidate) == (state.model, state.champion, state.candidate)
    if not same:
        raise _impossible(event, "its model and releases stay the same")
    seen = (*state.events, event)
    if event.type == "reconciled":
        if state.running:
            raise _impossible(event, "only an ended rollout is reconciled")
        return replace(state, reconciled=True, events=seen)
    if not state.running or event.type == "started":
        raise _impossible(event, "it has ended, or was started twice")
    if event.type == "advanced":
        return replace(state, stage=event.stage, share=event.share, entered=parse_instant(event.at), events=seen)
    return replace(state, ended=event.type, share=event.share, events=seen)


def _impossible(event: RolloutEvent, rule: str) -> RolloutError:
    return RolloutError(
        f"rollout '{event.rollout}' cannot have '{event.type}' here",
        expected=rule,
        hint="verify the ledger: countermark ledger verify",
    )


def begin(
    rollout: str, model: str, champion: str | None, candidate: str, plan: RolloutPlan, *, now: datetime, by: str
) -> RolloutEvent:
    """The event that starts a rollout in its shadow stage."""
    return RolloutEvent(
        rollout=rollout,
        model=model,
        type="started",
        at=iso(now),
        by=by,
        stage=SHADOW,
        share=0.0,
        champion=champion,
        candidate=candidate,
        plan=plan.model_dump(mode="json"),
    )


def step(state: RolloutState, readings: Sequence[GuardReading], stage_pairs: int, now: datetime) -> RolloutEvent | None:
    """What happens next, or None if nothing does yet.

    A failed guard turns the release back at once. A stage ends when it has its pairs and hours and every declared guard
    could be judged; without that at the end of ``max_hours`` the rollout is inconclusive: the champion goes on, and
    nobody has shown the candidate to be bad.
    """
    if not state.running:
        return None
    failed = [reading for reading in readings if reading.verdict == "fail"]
    if failed:
        why = "; ".join(_sentence(reading) for reading in failed)
        return _event(state, "rolled_back", now, state.stage, 0.0, why, readings)
    stay, passed = state.stay, now - state.entered
    unjudged = [reading for reading in readings if reading.verdict in ("thin", "not evaluated")]
    enough = stage_pairs >= stay.min_pairs and passed >= timedelta(hours=stay.min_hours)
    if enough and not unjudged:
        stage, share = _next(state)
        kind = "completed" if stage == FULL else "advanced"
        why = f"{stage_pairs} pairs in stage '{state.stage}'{_named('left out', readings)}"
        return _event(state, kind, now, stage, share, why, readings)
    if passed >= timedelta(hours=stay.max_hours):
        lacking = (
            f"{stage_pairs} of {stay.min_pairs} pairs{_named('thin', readings)}{_named('not evaluated', readings)}"
        )
        why = f"stage '{state.stage}' had {lacking} after {stay.max_hours:g} hours"
        return _event(state, "inconclusive", now, state.stage, 0.0, why, readings)
    return None


def stop(state: RolloutState, *, now: datetime, by: str, reason: str) -> RolloutEvent:
    """End a rollout by hand: the champion goes on.

    Raises:
        RolloutError: If it has ended.
    """
    if not state.running:
        raise RolloutError(f"rollout '{state.id}' has ended", got=str(state.ended))
    return _in_name_of(_event(state, "stopped", now, state.stage, 0.0, reason, ()), by)


def reconcile(state: RolloutState, *, now: datetime, by: str, reason: str) -> RolloutEvent:
    """Note that a person has dealt with how a rollout ended.

    Raises:
        RolloutError: If it still runs, or was reconciled before.
    """
    if state.running or state.reconciled:
        raise RolloutError(
            f"rollout '{state.id}' is not to be reconciled", got="it runs" if state.running else "it was reconciled"
        )
    return _in_name_of(_event(state, "reconciled", now, state.stage, state.share, reason, ()), by)


def _in_name_of(event: RolloutEvent, by: str) -> RolloutEvent:
    """The same event in somebody's name."""
    return msgspec.structs.replace(event, by=by)


def _next(state: RolloutState) -> tuple[str, float]:
    if state.plan.kind == "parallel_run":
        return FULL, 1.0
    larger = [share for share in state.plan.steps if share > state.share]
    return (f"canary {larger[0]:.4g}", larger[0]) if larger else (FULL, 1.0)


def _event(
    state: RolloutState,
    kind: str,
    now: datetime,
    stage: str,
    share: float,
    reason: str,
    readings: Sequence[GuardReading],
) -> RolloutEvent:
    return RolloutEvent(
        rollout=state.id,
        model=state.model,
        type=kind,  # type: ignore[arg-type]
        at=iso(now),
        by="controller",
        stage=stage,
        share=share,
        champion=state.champion,
        candidate=state.candidate,
        reason=reason,
        readings=tuple(readings),
    )


def _named(verdict: str, readings: Sequence[GuardReading]) -> str:
    found = [
        reading.guard + (f" ({reading.reason})" if reading.reason else "")
        for reading in readings
        if reading.verdict == verdict
    ]
    word = "too thin" if verdict == "thin" else verdict
    return f"; {word}: {', '.join(found)}" if found else ""


def _sentence(reading: GuardReading) -> str:
    value = "none" if reading.value is None else f"{reading.value:.4g}"
    return f"{reading.guard} {value} beyond {reading.limit:.4g} on {reading.n} pairs" + (
        f" ({reading.reason})" if reading.reason else ""
    )
