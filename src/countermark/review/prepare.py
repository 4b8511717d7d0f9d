"""A review from what is written down: release log, ledger, monitoring, rollouts, replay. Nobody types a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from countermark.config.monitor import MonitorPlan
from countermark.errors import CountermarkError, LedgerError
from countermark.ledger.checkpoint import Checkpoint
from countermark.ledger.entry import Entry, Row
from countermark.ledger.ledger import Damaged, Ledger, what_changed
from countermark.monitoring.challenge import ChallengeEvidence, compare
from countermark.monitoring.findings import standing_findings, worst_of
from countermark.monitoring.window import first_checkpoint, read_production
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import decode
from countermark.records.lights import Light
from countermark.records.release import ReleaseRef
from countermark.records.review import (
    Expiring,
    LogFinding,
    ReplayedSample,
    Review,
    ReviewAction,
    ReviewChallenge,
    ReviewCheckpoint,
    ReviewModel,
    ReviewRollout,
)
from countermark.records.watch import LiveFinding, ModelWatch
from countermark.registry.directory import ServingDirectory
from countermark.registry.inbox import expiring
from countermark.registry.standing import FindingState
from countermark.registry.state import RegistryState
from countermark.registry.trust import lapse
from countermark.replay.replay import Replayer
from countermark.replay.sample import draw
from countermark.review.needed import Proof, needed, overdue, soon
from countermark.rollout.live import Standing, damage, rollouts, standing
from countermark.rollout.machine import RolloutState
from countermark.scoring.release import open_release

WEEK = timedelta(days=7)
CLASSIFICATION = "Internal"
_LIGHTS = (Light.PASS, Light.NOT_EVALUATED, Light.WATCH, Light.FAIL)
"""From the one that needs nobody to the one that needs somebody today."""
_TROUBLE = ("rolled_back", "inconclusive", "stopped")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a review is read from.

    Attributes:
        ledger: The ledger.
        directory: The serving directory, for bundles.
        state: The fold of the whole release log; what came after the instant is left out.
        plans: Monitoring plans by model.
        bank: Name of the bank.
        now: The present; a checkpoint of the ledger that bears a later date bounds nothing. None believes every date.
    """

    ledger: Ledger
    directory: ServingDirectory
    state: RegistryState
    plans: Mapping[str, MonitorPlan]
    bank: str
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    watches: Mapping[str, ModelWatch]
    findings: Sequence[LiveFinding]
    rollouts: Sequence[RolloutState]
    challenges: Mapping[str, ChallengeEvidence]
    pressing: Mapping[str, tuple[Light, str]]
    since: datetime


def review_id(as_of: datetime) -> str:
    """The ISO week of an instant, ``2026-W50``."""
    year, week, _ = as_of.isocalendar()
    return f"{year}-W{week:02d}"


def prepare(sources: Sources, as_of: datetime, *, sample: int = 200, checkpoint: Checkpoint | None = None) -> Review:
    """Prepare the review as of an instant.

    The replayed decisions are drawn from the week before it, seeded by its date, so that nobody chooses them. Nothing
    counts that the checkpoint does not cover: it was written later, whatever date it bears. An entry that was changed
    after it was written is left out, and is a decision of today.

    Args:
        sources: Where everything is read from.
        as_of: The instant.
        sample: How many decisions are replayed; 0 replays none.
        checkpoint: The checkpoint of the ledger that the review names; the first one since the instant otherwise.

    Raises:
        RegistryError: If there was no release log yet.
        LedgerError: If the ledger cannot be read.
    """
    then, until, ledger = sources.state.at(time=as_of), iso(as_of), sources.ledger
    counts = _covered_by(checkpoint or first_checkpoint(ledger, as_of, sources.now))
    standings = standing(ledger, then, until=until, counts=counts)
    actions, ending = _actions(then), _expiring(then)
    live = [model for model in standings if model.authorised or model.silent]
    changed = list(damage(ledger))

    def tell(chain: str, row: Row) -> None:
        changed.append(what_changed(chain, row))

    found = standing_findings(ledger, until=until, counts=counts, damaged=tell)
    seen = _Seen(
        watches=_watches(ledger, as_of, counts, tell),
        findings=[finding for finding in found.values() if finding.status != "closed"],
        rollouts=tuple(rollouts(ledger, until=until, counts=counts).values()),
        challenges=_challenges(sources, live, as_of, changed),
        pressing=_pressing(then, actions, ending),
        since=as_of - WEEK,
    )
    models = tuple(_model(sources, then, one, seen) for one in live)
    replayed = _replayed(sources, as_of, sample, counts)
    proof = Proof(replayed, tuple(dict.fromkeys(changed)))
    return Review(
        id=review_id(as_of),
        as_of=until,
        bank=sources.bank,
        classification=CLASSIFICATION,
        previous=then.reviews[-1][1].review if then.reviews else None,
        needed=needed(then, standings, models, actions, ending, proof),
        models=models,
        actions=actions,
        expiring=ending,
        replayed=replayed,
        checkpoint=None if checkpoint is None else _checkpoint(checkpoint),
        log_position=then.position,
        log_head=then.head,
        log_refused=len(then.refused),
        sample=sample,
    )


def _covered_by(bound: Checkpoint | None) -> Callable[[Entry], bool]:
    """Whether a checkpoint covers an entry; without one every entry counts."""
    sizes = None if bound is None else {chain: head.size for chain, head in bound.chains.items()}
    return lambda entry: sizes is None or entry.seq < sizes.get(entry.chain, 0)


def _watches(
    ledger: Ledger, as_of: datetime, counts: Callable[[Entry], bool], damaged: Damaged
) -> dict[str, ModelWatch]:
    """The newest monitoring run of each model, of the last seven days."""
    found: dict[str, ModelWatch] = {}
    for entry in ledger.read(["monitor"], damaged=damaged):
        if iso(as_of - WEEK) <= entry.at <= iso(as_of) and counts(entry):
            watch = decode(entry.payload, ModelWatch)
            # A run as of the past may be written after a newer one; the findings that stand are those of the newest.
            if watch.model not in found or found[watch.model].as_of <= watch.as_of:
                found[watch.model] = watch
    return found


def _pressing(
    state: RegistryState, actions: Sequence[ReviewAction], ending: Sequence[Expiring]
) -> dict[str, tuple[Light, str]]:
    """Models that a decision waits for although their checks pass: how pressing it is, and why, in a few words."""
    found: dict[str, tuple[Light, str]] = {}
    for item in ending:
        ref = next((ref for ref in state.releases if str(ref) == item.subject), None)
        if ref is None or ref not in {*(a.ref for a in state.authorised(ref.model)), *state.lapsed(ref.model)}:
            continue
        if item.lapsed:
            found[ref.model] = (Light.FAIL, f"what v{ref.version} stands on has ended")
        elif soon(item.ends, state.now):
            found.setdefault(ref.model, (Light.WATCH, f"what v{ref.version} stands on ends within a week"))
    for action in actions:
        if action.status == "overdue" and action.model is not None:
            found[action.model] = (Light.FAIL, f"action {action.id} is overdue")
    return found


def _challenges(
    sources: Sources, live: Sequence[Standing], as_of: datetime, changed: list[str]
) -> dict[str, ChallengeEvidence]:
    """Challenger and champion of each model; none where the ledger's decisions or outcomes were changed."""
    wanted = [one for one in live if one.challenger is not None and one.model in sources.plans]
    if not wanted:
        return {}
    try:
        production, found = read_production(sources.ledger, as_of, sources.now), {}
    except LedgerError as error:
        changed.append(error.what)
        return {}
    for one in wanted:
        plan = sources.plans[one.model]
        if one.model in production and one.champion is not None and one.challenger is not None:
            found[one.model] = compare(
                production[one.model],
                one.champion,
                one.challenger,
                maturity_days=plan.maturity_days,
                minimum_events=plan.minimum_events,
            )
    return found


def _model(sources: Sources, state: RegistryState, one: Standing, seen: _Seen) -> ReviewModel:
    # Where nothing is authorised any more, the model is told of by what it was.
    authorised = [given.ref for given in state.authorised(one.model)]
    used = authorised or state.lapsed(one.model) or _known(state, one.model)
    newest = used[-1]
    release = state.releases[newest]
    title, damaged = _bundles(sources, state, used)
    watch = seen.watches.get(one.model)
    live = tuple(f for f in seen.findings if f.model == one.model)
    logged = tuple(_logged(f) for f in state.open_findings(one.model))
    moving = tuple(_rollout(r) for r in seen.rollouts if r.model == one.model and _to_tell(r, seen.since))
    challenge = seen.challenges.get(one.model)
    pressing, why = seen.pressing.get(one.model, (Light.PASS, ""))
    failed = Light.FAIL if one.silent or damaged else Light.PASS
    light = max(_light(watch, live, logged, moving), pressing, failed, key=_LIGHTS.index)
    if damaged:
        why = "; ".join(part for part in (f"the bundle of {damaged[-1][0]} cannot be opened", why) if part)
    promote = challenge is not None and challenge.verdict == "better"
    planned = one.model in sources.plans
    return ReviewModel(
        model=one.model,
        title=title or one.model,
        owner=release.proposal.owner,
        tier=release.proposal.tier,
        authorised=str(newest) if one.authorised else "no release",
        also=one.authorised[:-1],
        live=one.champion,
        quiet=light is Light.PASS and planned and not moving and not promote and not one.divergences,
        light=light,
        line="; ".join(part for part in (_line(watch, live, logged, one, planned=planned), why) if part),
        window=None if watch is None else watch.window,
        decisions=0 if watch is None else watch.decisions,
        matured=0 if watch is None else watch.matured,
        labelled=0 if watch is None else watch.labelled,
        readings=() if watch is None else watch.readings,
        off=() if watch is None else watch.off,
        live_findings=live,
        log_findings=logged,
        rollouts=moving,
        challenge=None if challenge is None else _challenge(challenge),
        planned=planned,
        damaged=damaged,
    )


def _known(state: RegistryState, model: str) -> list[ReleaseRef]:
    return sorted((ref for ref in state.releases if ref.model == model), key=lambda ref: ref.order)


def _bundles(
    sources: Sources, state: RegistryState, refs: Sequence[ReleaseRef]
) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """The newest release's title, if its bundle is at hand, and the releases whose bundles cannot be opened."""
    title, damaged = None, []
    for ref in refs:
        publication = state.releases[ref].publication
        if publication is None or not sources.directory.holds(publication.bundle_digest):
            continue
        try:
            title = open_release(sources.directory.bundle(publication.bundle_digest)).spec.title
        except CountermarkError as error:
            title = None
            damaged.append((str(ref), error.what))
    return title, tuple(damaged)


def _light(
    watch: ModelWatch | None,
    live: Sequence[LiveFinding],
    logged: Sequence[LogFinding],
    moving: Sequence[ReviewRollout],
) -> Light:
    open_end = any(r.ended in _TROUBLE[:2] and not r.reconciled for r in moving)
    if worst_of(live) is Light.FAIL or open_end or any(f.severity in ("critical", "high") for f in logged):
        return Light.FAIL
    if watch is None:
        return Light.NOT_EVALUATED
    return Light.WATCH if live or logged else Light.PASS


def _line(
    watch: ModelWatch | None,
    live: Sequence[LiveFinding],
    logged: Sequence[LogFinding],
    one: Standing,
    *,
    planned: bool,
) -> str:
    """One line; the numbers behind it are in the block."""
    parts = ["nothing answers"] if one.silent else []
    if not planned:
        parts.append("no monitoring plan")
    if watch is None and planned:
        parts.append("no monitoring run in the last seven days")
    if watch is not None:
        lights = [reading.light for reading in watch.readings]
        count = {light: lights.count(light) for light in Light}
        silent = count[Light.NOT_EVALUATED]
        parts.append(f"{watch.decisions:,} decisions".replace(",", "\u202f"))
        parts.append(f"{count[Light.PASS]} of {len(lights)} checks pass")
        if silent:
            parts.append(f"{silent} not evaluated")
        known = [r for r in watch.readings if r.check == "kpi" and r.value is not None]
        parts += [f"{r.subject.replace('_', ' ')} {r.value:.4g}" for r in known[:2]]
    if live:
        parts.append(f"{len(live)} finding{'s' if len(live) > 1 else ''} in production")
    if logged:
        parts.append(f"{len(logged)} on the release log")
    if one.candidate is not None:
        parts.append(f"v{one.candidate} takes {one.share:.0%}")
    return "; ".join(parts)


def _logged(finding: FindingState) -> LogFinding:
    body = finding.body
    return LogFinding(
        id=finding.id,
        severity=body.severity,
        text=body.text,
        owner=body.owner or "",
        due=body.due,
        opened=iso(finding.opened),
    )


def _to_tell(rollout: RolloutState, since: datetime) -> bool:
    if rollout.running:
        return True
    ended = parse_instant(rollout.events[-1].at)
    return ended > since or (rollout.ended in _TROUBLE[:2] and not rollout.reconciled)


def _rollout(state: RolloutState) -> ReviewRollout:
    last = next((e for e in reversed(state.events) if e.type != "reconciled"), state.events[-1])
    return ReviewRollout(
        id=state.id,
        champion=state.champion,
        candidate=state.candidate,
        stage=state.stage,
        share=state.share,
        started=iso(state.started),
        ended=state.ended,
        reason=last.reason,
        reconciled=state.reconciled,
    )


def _challenge(found: ChallengeEvidence) -> ReviewChallenge:
    return ReviewChallenge(
        champion=found.champion,
        challenger=found.challenger,
        decisions=found.decisions,
        labelled=found.labelled,
        events=found.events,
        auc_difference=found.auc.difference,
        low=found.auc.low,
        high=found.auc.high,
        verdict=found.verdict,
    )


def _actions(state: RegistryState) -> tuple[ReviewAction, ...]:
    """Actions that are not done, and those that the last review found done."""
    done = {name for _, review in state.reviews for name in review.done}
    newest = state.reviews[-1][1].review if state.reviews else None
    # The first of several signatures of a review carries what it found done.
    last = {name for _, review in state.reviews if review.review == newest for name in review.done}
    found: dict[str, ReviewAction] = {}
    for _, review in state.reviews:
        for action in review.actions:
            if action.id in done and action.id not in last:
                continue
            status = "done" if action.id in done else "overdue" if overdue(action.due, state.now) else "open"
            found[action.id] = ReviewAction(
                id=action.id,
                review=review.review,
                owner=action.owner,
                due=action.due,
                text=action.text,
                model=action.model,
                status=status,  # type: ignore[arg-type]
            )
    order = ("overdue", "open", "done")
    return tuple(sorted(found.values(), key=lambda a: (order.index(a.status), a.due, a.id)))


def _expiring(state: RegistryState) -> tuple[Expiring, ...]:
    return tuple(
        Expiring(subject=subject, owner=owner, what=what, ends=ends, lapsed=lapse(ends) <= state.now)
        for subject, owner, what, ends in expiring(state)
    )


def _replayed(sources: Sources, as_of: datetime, count: int, counts: Callable[[Entry], bool]) -> ReplayedSample | None:
    if count == 0:
        return None
    since, seed = iso(as_of - WEEK), int(as_of.strftime("%Y%m%d"))
    drawn = draw(sources.ledger, count, seed, after=since, until=iso(as_of), counts=counts)
    if not drawn:
        return None
    replayed = Replayer(sources.ledger, sources.directory, sources.state).sample(drawn)
    return ReplayedSample(
        drawn=len(replayed),
        identical=sum(one.identical for one in replayed),
        seed=seed,
        since=since,
        releases=tuple(sorted({str(one.release.bundle.ref) for one in replayed if one.release is not None})),
        different=tuple(
            (one.id, ", ".join(dict.fromkeys(d.what for d in one.differences))) for one in replayed if not one.identical
        ),
    )


def _checkpoint(taken: Checkpoint) -> ReviewCheckpoint:
    return ReviewCheckpoint(
        digest=taken.digest, at=taken.at, chains={name: head.size for name, head in sorted(taken.chains.items())}
    )
