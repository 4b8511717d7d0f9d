"""A monitoring run: read the ledger, check every model, write down what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from countermark.config.monitor import MonitorPlan
from countermark.errors import CountermarkError, MonitoringError
from countermark.ledger.entry import Item
from countermark.ledger.ledger import Ledger
from countermark.monitoring.checks import checks_off, readings, unjudged, watch
from countermark.monitoring.findings import Unwatched, findings_of, standing_findings, unwatched_findings
from countermark.monitoring.window import Production, read_production, require_past
from countermark.records.clock import iso
from countermark.records.decision import encode
from countermark.records.groups import Groups
from countermark.records.profile import ReferenceProfile
from countermark.records.watch import LiveFinding, ModelWatch


@dataclass(frozen=True, slots=True)
class WatchedRelease:
    """What monitoring needs of a release.

    Attributes:
        profile: Its reference profile.
        favourable: Its policy's word for a favourable decision; None without a policy.
        reference_group: Reference group by protected attribute.
    """

    profile: ReferenceProfile
    favourable: str | None
    reference_group: Mapping[str, str]


PLAN_HINT = "write one: owner, maturity_days and limits (docs/reference/monitoring.md has an example)"

Releases = Mapping[str, Mapping[str, WatchedRelease]]
"""Releases by model and version, the newest that may serve last; one may fail to open only when it is asked for."""


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One model in a run.

    Attributes:
        watch: The readings.
        findings: New, standing and closed findings, worst first.
    """

    watch: ModelWatch
    findings: tuple[LiveFinding, ...]


@dataclass(frozen=True, slots=True)
class UnwatchedRun:
    """What a run says of the models in production that nothing watches.

    Attributes:
        models: The models, by name.
        findings: One open finding for each, and those that are closed.
    """

    models: tuple[Unwatched, ...]
    findings: tuple[LiveFinding, ...]


def plans_for(models: Iterable[str], plans: Mapping[str, MonitorPlan]) -> dict[str, MonitorPlan]:
    """The plans of some models.

    Raises:
        MonitoringError: If a model has none.
    """
    wanted = list(models)
    for model in wanted:
        if model not in plans:
            raise MonitoringError(
                f"model '{model}' has no monitoring plan",
                expected=f"conf/monitor/{model}.yaml",
                hint=PLAN_HINT,
            )
    return {model: plans[model] for model in wanted}


def run_monitor(
    ledger: Ledger,
    releases: Releases,
    plans: Mapping[str, MonitorPlan],
    as_of: datetime,
    *,
    groups: Groups | None = None,
    now: datetime | None = None,
) -> tuple[ModelRun, ...]:
    """Check models as of an instant, and put the readings and findings on the ledger.

    A model that decided nothing in the window is checked all the same: its volume says so. A run as of an instant
    before the newest run of a model writes its readings down and changes none of the findings that stand.

    Args:
        ledger: The ledger, to read and to append to.
        releases: Releases that may have decided.
        plans: Monitoring plans of the models to check.
        as_of: Instant; nothing that was learned later counts.
        groups: Protected groups by entity; None where they are not at hand.
        now: The present: no instant after it is taken, and runs and checkpoints on the ledger that bear a later date
            count for nothing. None believes every date.

    Raises:
        MonitoringError: If the instant lies in the future, or a model has no release.
        LedgerError: If the ledger cannot be read or written, or an entry was changed after it was written.
    """
    if now is not None:
        require_past(as_of, now)
    production = read_production(ledger, as_of, now)
    before = standing_findings(ledger, until=iso(as_of))
    runs = []
    for model, plan in sorted(plans.items()):
        found = production.get(model, Production(model, (), {}, {}, frozenset(), as_of))
        watched = _model(model, found, plan, releases.get(model, {}), groups)
        runs.append(ModelRun(watched, findings_of(watched, before)))
    at, spoken = iso(as_of), _newest(ledger, now)
    items: list[Item] = []
    for run in runs:
        items.append(("monitor", run.watch.model, encode(run.watch), at))
        if spoken.get(run.watch.model, "") > at:
            continue  # a newer run has spoken: what was once wrong does not stand again
        items.extend(("finding", finding.id, encode(finding), at) for finding in run.findings)
    if items:
        ledger.append_many(items)
    return tuple(runs)


def _newest(ledger: Ledger, now: datetime | None) -> dict[str, str]:
    """Instant of the newest run of each model."""
    found: dict[str, str] = {}
    for entry in ledger.read(["monitor"]):
        if now is None or entry.at <= iso(now):
            found[entry.key] = max(entry.at, found.get(entry.key, ""))
    return found


def report_unwatched(ledger: Ledger, unwatched: Iterable[Unwatched], as_of: datetime) -> UnwatchedRun:
    """Put the models in production that nothing watches on the ledger, each as a finding of its owner.

    Called after ``run_monitor``: a model that has left production is told from one that is watched again.

    Args:
        ledger: The ledger, to read and to append to.
        unwatched: All such models.
        as_of: Instant of the run.

    Raises:
        LedgerError: If the ledger cannot be read or written.
    """
    at = iso(as_of)
    models = tuple(sorted(unwatched, key=lambda one: one.model))
    findings = unwatched_findings(models, standing_findings(ledger, until=at), at)
    if findings:
        ledger.append_many([("finding", finding.id, encode(finding), at) for finding in findings])
    return UnwatchedRun(models, findings)


def _model(
    model: str,
    production: Production,
    plan: MonitorPlan,
    releases: Mapping[str, WatchedRelease],
    groups: Groups | None,
) -> ModelWatch:
    """Readings of one model, against the profile of the release that decided most of the window, whatever became of it.

    Raises:
        MonitoringError: If nothing decided in the window, and no release of the model can be opened.
    """
    window = production.between(plan.window_days)
    counted = Counter(record.release.version for record in window)
    if counted:
        version = counted.most_common(1)[0][0]
        release = _opened(releases, version)
    else:
        version, release = _standing(model, releases)
    if isinstance(release, str):
        found = unjudged(production, plan, version, release)
    else:
        watched = watch(
            production,
            plan,
            release.profile,
            version,
            favourable=release.favourable,
            groups=groups,
            reference_group=release.reference_group,
        )
        found = readings(watched)
    matured = production.between(plan.performance_days, until_days=plan.maturity_days)
    as_of = production.as_of
    return ModelWatch(
        model=model,
        release=version,
        plan=f"{plan.name} {plan.version}",
        as_of=iso(as_of),
        window=(iso(as_of - timedelta(days=plan.window_days)), iso(as_of)),
        decisions=len(window),
        matured=len(matured),
        labelled=len(production.labelled(matured)[0]),
        readings=found,
        off=checks_off(plan.limits),
    )


def _opened(releases: Mapping[str, WatchedRelease], version: str) -> WatchedRelease | str:
    """A release, or why it cannot be opened."""
    try:
        return releases[version]
    except KeyError:
        return "the release log knows no published release of this version"
    except CountermarkError as error:
        return error.what


def _standing(model: str, releases: Mapping[str, WatchedRelease]) -> tuple[str, WatchedRelease]:
    """The newest release that can be opened: what the model is held against where nothing decided.

    Raises:
        MonitoringError: If there is none.
    """
    why = None
    for version in reversed(list(releases)):
        release = _opened(releases, version)
        if not isinstance(release, str):
            return version, release
        why = why or release
    raise MonitoringError(
        f"there is no release of '{model}' to compare with",
        expected="a published release in the serving directory",
        got=why,
        hint="countermark release export --to DIR",
    )
