"""Commands of feature views: fill the online store, check it, look into it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root, ledger_address, ledger_option

if TYPE_CHECKING:
    from countermark.features.audit import Build

_URL = click.option(
    "--store",
    "url",
    metavar="URL",
    help="sqlite:///path or redis://host:port/db. [default: .countermark/features.sqlite]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")


@click.group()
def features() -> None:
    """Fill the online feature store, check it against the tables, look into it."""


@features.command()
@click.argument("views", nargs=-1)
@click.option("--as-of", metavar="TIME", help="Instant or date up to which events are taken. [default: now]")
@click.option("--to", "url", metavar="URL", help="sqlite:///path or redis://host:port/db.")
@_JSON
def materialize(views: tuple[str, ...], as_of: str | None, url: str | None, as_json: bool) -> None:
    """Build VIEWS (default: all) from their accepted tables and publish them at once."""
    from countermark.records.clock import iso
    from countermark.stages.features import materialize as run

    at = _instant(as_of, "--as-of")
    made = run(bank_root(), views, at, url, _quiet if as_json else click.echo)
    if as_json:
        _print_json(
            [
                {
                    "view": g.view,
                    "version": g.version,
                    "number": g.number,
                    "as_of": iso(g.as_of),
                    "entities": g.entities,
                }
                for g in made
            ]
        )
    else:
        click.echo(f"published {len(made)} views as of {iso(at)}")


@features.command()
@click.argument("views", nargs=-1)
@click.option("--sample", default=1000, show_default=True, type=click.IntRange(1), help="Entities per view.")
@_URL
@_JSON
def verify(views: tuple[str, ...], sample: int, url: str | None, as_json: bool) -> None:
    """Ask the store and the point-in-time join the same, and fail if they differ."""
    from countermark.errors import FeatureStoreError
    from countermark.records.clock import iso
    from countermark.stages.features import verify as run

    found = run(bank_root(), views, url, sample, _quiet if as_json else click.echo)
    if as_json:
        _print_json(
            [
                {
                    "view": a.view,
                    "as_of": iso(a.as_of),
                    "entities": a.entities,
                    "moved_on": a.moved_on,
                    "differing": a.differing,
                }
                for a in found
            ]
        )
    wrong = [a.view for a in found if a.differing]
    if wrong:
        raise FeatureStoreError(
            "the online store does not give what the tables give",
            expected="equal values",
            got="differences in " + ", ".join(f"'{name}'" for name in wrong),
            hint="materialize again, and ask where the difference came from",
        )


@features.command()
@click.argument("view")
@click.argument("entity")
@click.option("--at", metavar="TIME", help="Instant or date. [default: now]")
@_URL
@_JSON
def show(view: str, entity: str, at: str | None, url: str | None, as_json: bool) -> None:
    """Show the features of ENTITY in VIEW as a decision would get them."""
    from countermark.records.clock import iso
    from countermark.stages.features import show as run

    for plan, row in run(bank_root(), view, entity, _instant(at, "--at"), url):
        if as_json:
            answer = {
                "view": plan.name,
                "version": plan.version,
                "as_of": iso(row.as_of),
                "values": row.values,
                "expired": row.expired,
            }
            _print_json(answer)
            continue
        click.echo(f"{plan.name} {plan.version[:12]} as of {iso(row.as_of)}")
        for name, value in row.values.items():
            shown = "missing, too old" if name in row.expired else "missing" if value is None else value
            click.echo(f"  {name:<28} {shown}")


@features.command()
@click.argument("model")
@ledger_option
@click.option(
    "--built-as-of",
    "built",
    metavar="TIME[/PUBLISHED]",
    multiple=True,
    help="The --as-of with which the store was materialized, and when that was done if later; once for each time.",
)
@_JSON
def audit(model: str, address: str | None, built: tuple[str, ...], as_json: bool) -> None:
    """Make the logged vectors of MODEL again from the event log, and fail if one differs."""
    from countermark.errors import FeatureStoreError
    from countermark.stages.features import audit as run

    builds = sorted((_build(text) for text in built), key=lambda build: build.at)
    report = run(bank_root(), model, ledger_address(address), builds)
    if as_json:
        wrong = [{"decision": m.decision, "input": m.input} for m in report.mismatches]
        counts = {"compared": report.compared, "values": report.values, "exact": report.exact}
        _print_json({**counts, "other_views": report.other_views, "mismatches": wrong})
    else:
        click.echo(f"{report.compared:,} decisions, {report.values:,} values: {report.exact:,} equal to the last bit")
        if report.other_views:
            click.echo(f"{report.other_views:,} decisions read another version of a view and were left out")
        for mismatch in report.mismatches[:20]:
            click.echo(f"  {mismatch.decision}  {mismatch.input} differs")
    if report.mismatches:
        raise FeatureStoreError(
            "vectors that decided are not what the event log gives",
            expected="no difference",
            got=f"{len(report.mismatches)} values of {len({m.decision for m in report.mismatches})} decisions",
            hint="look for events that were left out, back-dated or slipped in, and for a store that was restored",
        )


def _build(text: str) -> Build:
    from countermark.features.audit import Build

    as_of, _, published = text.partition("/")
    at = _instant(as_of, "--built-as-of")
    return Build(at, _instant(published, "--built-as-of") if published else at)


def _instant(text: str | None, option: str) -> dt.datetime:
    from countermark.records.clock import SystemClock, parse_instant

    if text is None:
        return SystemClock().now()
    try:
        return parse_instant(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _print_json(document: object) -> None:
    import json

    click.echo(json.dumps(document, indent=1, ensure_ascii=False))


def _quiet(_line: str) -> None:
    """Say nothing."""
