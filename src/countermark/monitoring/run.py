"""A monitoring run: read the ledger, check every model, write down what was found, tell those who act."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from countermark.config.monitor import MonitorPlan
from countermark.errors import MonitoringError
from countermark.ledger.entry import Item
from countermark.ledger.ledger import Ledger
from countermark.monitoring.checks import checks_off, readings, watch
from countermark.monitoring.findings import findings_of, standing_findings
from countermark.monitoring.window import Production, read_production
from countermark.records.clock import iso
from countermark.records.decision import as_document, encode
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


_SHOW = "they are on the ledger: countermark monitor show"

Releases = Mapping[str, Mapping[str, WatchedRelease]]
"""Releases by model and version."""


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One model in a run.

    Attributes:
        watch: The readings.
        findings: New, standing and closed findings, worst first.
    """

    watch: ModelWatch
    findings: tuple[LiveFinding, ...]


def run_monitor(
    ledger: Ledger,
    releases: Releases,
    plans: Mapping[str, MonitorPlan],
    as_of: datetime,
    *,
    groups: Groups | None = None,
    models: frozenset[str] | None = None,
) -> tuple[ModelRun, ...]:
    """Check models as of an instant, and put the readings and findings on the ledger.

    A model that decided nothing in the window and has a plan is checked all the same: its volume says so.

    Args:
        ledger: The ledger, to read and to append to.
        releases: Releases that may have decided.
        plans: Monitoring plans by model.
        as_of: Instant; nothing that was learned later counts.
        groups: Protected groups by entity; None where they are not at hand.
        models: Models to check; all of ``plans`` otherwise.

    Raises:
        MonitoringError: If a model has no plan or no release.
        LedgerError: If the ledger cannot be read or written.
    """
    wanted = sorted(plans if models is None else models)
    for model in wanted:
        if model not in plans:
            raise MonitoringError(f"model '{model}' has no monitoring plan", expected=f"conf/monitor/{model}.yaml")
    production = read_production(ledger, as_of)
    before = standing_findings(ledger, until=iso(as_of))
    runs = []
    for model in wanted:
        found = production.get(model, Production(model, (), {}, {}, frozenset(), as_of))
        watched = _model(model, found, plans[model], releases.get(model, {}), groups)
        runs.append(ModelRun(watched, findings_of(watched, before)))
    at = iso(as_of)
    items: list[Item] = []
    for run in runs:
        items.append(("monitor", run.watch.model, encode(run.watch), at))
        items.extend(("finding", finding.id, encode(finding), at) for finding in run.findings)
    if items:
        ledger.append_many(items)
    return tuple(runs)


def _model(
    model: str,
    production: Production,
    plan: MonitorPlan,
    releases: Mapping[str, WatchedRelease],
    groups: Groups | None,
) -> ModelWatch:
    """Readings of one model, against the profile of the release that decided most of the window."""
    window = production.between(plan.window_days)
    counted = Counter(record.release.version for record in window if record.release.version in releases)
    version = counted.most_common(1)[0][0] if counted else next(reversed(list(releases)), None)
    if version is None:
        raise MonitoringError(
            f"there is no release of '{model}' to compare with",
            expected="a published release in the serving directory",
            hint="countermark release export --to DIR",
        )
    release = releases[version]
    watched = watch(
        production,
        plan,
        release.profile,
        version,
        favourable=release.favourable,
        groups=groups,
        reference_group=release.reference_group,
    )
    as_of = production.as_of
    return ModelWatch(
        model=model,
        release=version,
        plan=f"{plan.name} {plan.version}",
        as_of=iso(as_of),
        window=(iso(as_of - timedelta(days=plan.window_days)), iso(as_of)),
        decisions=len(watched.window),
        matured=len(watched.matured),
        labelled=len(watched.labelled),
        readings=readings(watched),
        off=checks_off(plan.limits),
    )


def log_findings(path: Path, runs: tuple[ModelRun, ...]) -> None:
    """Append the findings of a run to a file, one JSON object a line.

    Raises:
        MonitoringError: If the file cannot be written. The findings are on the ledger all the same.
    """
    lines = [json.dumps(as_document(finding), sort_keys=True) + "\n" for run in runs for finding in run.findings]
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(lines)
    except OSError as error:
        raise MonitoringError(
            "the log of findings cannot be written", got=error.strerror, hint=_SHOW, file=path
        ) from None


def post_findings(url: str, runs: tuple[ModelRun, ...], *, seconds: float = 10.0) -> None:
    """Send the findings of a run to a webhook: one POST with a JSON array, also an empty one.

    Raises:
        MonitoringError: If the address is not HTTP, or the other side does not take it. The findings are on the ledger
            all the same.
    """
    if not url.startswith(("http://", "https://")):
        raise MonitoringError("a webhook needs an HTTP address", expected="http:// or https://")
    body = json.dumps([as_document(finding) for run in runs for finding in run.findings]).encode()
    try:
        request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=seconds):
            pass
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        raise MonitoringError(
            "the webhook did not take the findings",
            got=str(error)[:200],
            hint=_SHOW,
        ) from None
