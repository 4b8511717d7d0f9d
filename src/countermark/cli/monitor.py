"""``countermark monitor``: what production looks like beside what was validated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root, ledger_option
from countermark.cli.production import moment, opened_ledger, production_options, serving_directory
from countermark.cli.registry_options import json_option, print_json

if TYPE_CHECKING:
    from datetime import datetime

    from countermark.config.monitor import MonitorPlan
    from countermark.monitoring.findings import Unwatched
    from countermark.monitoring.run import ModelRun, UnwatchedRun
    from countermark.records.watch import LiveFinding
    from countermark.registry.directory import ServingDirectory
    from countermark.serving.catalog import Catalog

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def monitor() -> None:
    """Volume, contracts, drift, realised performance, fairness and KPI of the models in production."""


@monitor.command()
@click.argument("models", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every model in production; one without a plan is a finding.")
@click.option("--as-of", "as_of", help="Instant; nothing learned later counts. The present otherwise.")
@click.option("--groups", type=_FILE, help="Protected groups by entity (CSV), for fairness.")
@click.option("--log", "log_file", type=_FILE, help="Append the findings to this file, one JSON object a line.")
@click.option("--webhook", help="POST the findings to this address.")
@json_option
@production_options
def run(
    models: tuple[str, ...],
    every: bool,
    as_of: str | None,
    groups: Path | None,
    log_file: Path | None,
    webhook: str | None,
    as_json: bool,
    address: str | None,
    releases: Path | None,
    trust_root: str | None,
) -> None:
    """Check MODELS, or --all of them, and put readings and findings on the ledger.

    An instant in the future is refused. A log or webhook that fails keeps the other from nothing, and is an error.
    """
    from countermark.config.operations import monitor_plans
    from countermark.monitoring.releases import published_releases
    from countermark.monitoring.run import plans_for, report_unwatched, run_monitor
    from countermark.monitoring.sinks import tell
    from countermark.records.groups import read_groups
    from countermark.serving.catalog import load_catalog

    if not models and not every:
        raise click.UsageError("name models, or give --all")
    now = moment(None)
    instant = now if as_of is None else moment(as_of)
    directory = serving_directory(releases, trust_root)
    catalog = load_catalog(directory, now)
    declared = monitor_plans(bank_root())
    plans = plans_for([name for name in declared if name in catalog.models] if every else models, declared)
    with opened_ledger(address) as ledger:
        runs = run_monitor(
            ledger,
            published_releases(directory, directory.state(now)),
            plans,
            instant,
            groups=None if groups is None else read_groups(groups),
            now=now,
        )
        silent = report_unwatched(ledger, _unwatched(directory, catalog, declared, instant), instant) if every else None
    told: list[ModelRun | UnwatchedRun] = [*runs, *([] if silent is None else [silent])]
    if as_json:
        print_json([_told(one) for one in told if one in runs or one.findings])
    else:
        for one in runs:
            _show(one)
        if silent is not None:
            _show_unwatched(silent)
        if not runs and not (silent and silent.models):
            click.echo("no model is in production")
    tell(told, log=log_file, webhook=webhook)


def _unwatched(
    directory: ServingDirectory, catalog: Catalog, plans: Mapping[str, MonitorPlan], as_of: datetime
) -> Iterator[Unwatched]:
    """Models that were authorised for production as of an instant and that no run can speak of."""
    from countermark.errors import RegistryError
    from countermark.monitoring.findings import Unwatched
    from countermark.review.needed import owner_of

    state = directory.state(moment(None))
    if as_of < state.now:
        try:
            state = state.at(time=as_of)
        except RegistryError:
            return  # there was no log yet
    for model in state.models:
        if not state.authorised(model):
            continue
        if model not in plans:
            yield Unwatched(model, owner_of(state, model), f"there is no plan conf/monitor/{model}.yaml")
        elif model not in catalog.models:
            why = catalog.why_not(model) or "authorised a moment ago"
            yield Unwatched(model, owner_of(state, model), f"no release of it can be opened ({why})")


def _told(one: ModelRun | UnwatchedRun) -> dict[str, object]:
    from countermark.monitoring.run import ModelRun
    from countermark.records.decision import as_document

    watch = as_document(one.watch) if isinstance(one, ModelRun) else None
    return {"watch": watch, "findings": [as_document(finding) for finding in one.findings]}


def _show_unwatched(silent: UnwatchedRun) -> None:
    for one in silent.models:
        click.echo(f"\n{one.model}  not watched")
    for finding in silent.findings:
        click.echo(f"  {_line(finding)}")


@monitor.command()
@click.argument("models", nargs=-1)
@click.option("--closed", is_flag=True, help="Closed findings too.")
@click.option("--at", "at", help="Instant to look back to; the present otherwise.")
@json_option
@ledger_option
def show(models: tuple[str, ...], closed: bool, at: str | None, as_json: bool, address: str | None) -> None:
    """Show the findings of production that stand, of MODELS or of all."""
    from countermark.monitoring.findings import standing_findings
    from countermark.monitoring.window import require_past
    from countermark.records.clock import iso
    from countermark.records.decision import as_document

    now = moment(None)
    instant = now if at is None else moment(at)
    require_past(instant, now)
    with opened_ledger(address) as ledger:
        # What bears a later date hides nothing that stands now.
        found = standing_findings(ledger, until=iso(instant))
    told = [
        finding
        for _, finding in sorted(found.items())
        if (closed or finding.status != "closed") and (not models or finding.model in models)
    ]
    if as_json:
        print_json([as_document(finding) for finding in told])
        return
    for finding in told:
        click.echo(_line(finding) + f"  since {finding.since[:10]}")
    if not told:
        click.echo("no finding stands")


def _line(finding: LiveFinding) -> str:
    glyph = finding.light.glyph if finding.status != "closed" else "✓"
    return f"{glyph} {finding.status:6} {finding.model}: {finding.text}  [{finding.owner}]"


def _show(one: ModelRun) -> None:
    from collections import Counter

    watch = one.watch
    lights = Counter(reading.light for reading in watch.readings)
    counted = ", ".join(f"{n} {light.word}" for light, n in sorted(lights.items()))
    click.echo(f"\n{watch.model}@v{watch.release}  {watch.window[0][:10]} to {watch.window[1][:10]}")
    click.echo(f"  {watch.decisions:,} decisions; {watch.labelled:,} of {watch.matured:,} matured ones have a label")
    click.echo(f"  {counted or 'no check has a limit'}")
    for finding in one.findings:
        click.echo(f"  {_line(finding)}")


@monitor.command()
@click.argument("model")
@click.option("--champion", required=True, help="Version that answers.")
@click.option("--challenger", required=True, help="Version that is scored in shadow.")
@click.option("--as-of", "as_of", help="Instant; the present otherwise.")
@click.option("--to", "to", type=_FILE, help="Write the evidence here, for 'release propose --evidence'.")
@production_options
def challenge(
    model: str,
    champion: str,
    challenger: str,
    as_of: str | None,
    to: Path | None,
    address: str | None,
    releases: Path | None,
    trust_root: str | None,
) -> None:
    """Compare champion and challenger of MODEL on the same decisions, where labels have matured."""
    from countermark.config.operations import monitor_plans
    from countermark.errors import MonitoringError
    from countermark.monitoring.challenge import compare
    from countermark.monitoring.run import PLAN_HINT
    from countermark.monitoring.window import pin, read_production
    from countermark.records.decision import as_document
    from countermark.records.digest import pretty_json, sha256_hex

    plans = monitor_plans(bank_root())
    if model not in plans:
        raise MonitoringError(
            f"model '{model}' has no monitoring plan", expected=f"conf/monitor/{model}.yaml", hint=PLAN_HINT
        )
    now = moment(None)
    instant = now if as_of is None else moment(as_of)
    champion, challenger = _rivals(serving_directory(releases, trust_root), model, champion, challenger)
    with opened_ledger(address, writer="checkpoint") as ledger:
        # The checkpoint keeps what is written later, with whatever date, out of the figures of this instant.
        pin(ledger, instant, now)
    with opened_ledger(address) as ledger:
        production = read_production(ledger, instant, now).get(model)
    if production is None:
        raise MonitoringError(f"the ledger has no decision of '{model}'")
    plan = plans[model]
    found = compare(
        production,
        champion,
        challenger,
        maturity_days=plan.maturity_days,
        minimum_events=plan.minimum_events,
    )
    data = pretty_json(as_document(found))
    if to is not None:
        try:
            to.write_bytes(data)
        except OSError as error:
            raise MonitoringError("the evidence cannot be written", got=error.strerror, file=to) from None
    click.echo(f"{found.decisions:,} decisions scored by both, {found.labelled:,} with a matured label")
    difference = "not known" if found.auc.difference is None else f"{found.auc.difference:+.4f}"
    interval = "" if found.auc.low is None else f" ({found.auc.low:+.4f} to {found.auc.high:+.4f})"
    click.echo(f"  AUC {difference}{interval}; {found.changed:,} decisions would change: {found.verdict}")
    click.echo(f"  evidence {sha256_hex(data)}, known by ledger checkpoint {found.checkpoint}")


def _rivals(directory: ServingDirectory, model: str, *named: str) -> tuple[str, str]:
    """Champion and challenger as versions, without the ``v`` of a release: two that the log knows."""
    from countermark.errors import MonitoringError

    known = sorted((r for r in directory.state(moment(None)).releases if r.model == model), key=lambda r: r.order)
    versions = [ref.version for ref in known]
    first, second = (name.removeprefix(f"{model}@").removeprefix("v") for name in named)
    for version in (first, second):
        if version not in versions:
            raise MonitoringError(
                f"the log knows no release '{model}@v{version}'",
                expected="one of " + ", ".join(versions) if versions else f"a proposed release of '{model}'",
            )
    if first == second:
        raise MonitoringError(
            f"'{model}@v{first}' cannot be compared with itself", expected="a challenger that is not the champion"
        )
    return first, second
