"""``countermark replay``: decide again what was decided, and compare every bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root, ledger_address, ledger_option
from countermark.cli.registry_options import json_option, print_json, trust_option

if TYPE_CHECKING:
    from countermark.ledger import Ledger
    from countermark.replay.replay import Replayed, Replayer

_PATH = click.Path(path_type=Path)
_SHOWN = 10


@click.command()
@click.argument("decision", metavar="[ID]", required=False)
@click.option("--sample", type=click.IntRange(min=1), help="Replay this many decisions, drawn at random.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw and of a second opinion.")
@click.option("--model", help="Draw among the decisions of this model.")
@click.option("--releases", type=_PATH, help="Serving directory; releases/ of the bank otherwise.")
@ledger_option
@click.option("--to", type=_PATH, help="Folder for the decision file, as JSON and as one PDF page.")
@click.option("--explain", type=click.Choice(["lime"]), help="Add a second, approximate opinion to the decision file.")
@json_option
@trust_option
def replay(
    decision: str | None,
    sample: int | None,
    seed: int,
    model: str | None,
    releases: Path | None,
    address: str | None,
    to: Path | None,
    explain: str | None,
    as_json: bool,
    trust_root: str | None,
) -> None:
    """Fetch the release that decided ID, decide again, and compare score, grade, outcome and reasons bit by bit.

    Ends with an error that names what differs: ledger, release, tag, bundle, scorer, decision policy or the numbers.
    """
    if (decision is None) == (sample is None):
        raise click.UsageError("name one decision by its ID, or draw some with --sample N")
    if decision is None and (to is not None or explain is not None):
        raise click.UsageError("--to and --explain go with one ID")
    with _ledger(address) as store:
        replayer = _replayer(store, releases, trust_root)
        if decision is None:
            _sampled(replayer, store, sample or 1, seed, model, as_json)
        else:
            _one(replayer, decision, seed=seed, to=to, explain=explain, as_json=as_json)


def verify_target(target: str | None, ledger: str | None, trust_root: str | None, as_json: bool) -> bool:
    """Check a decision for 'countermark verify': replay it and tell what differs."""
    with _ledger(ledger) as store:
        replayed = _replayer(store, None, trust_root).replay(str(target))
    if as_json:
        print_json(_facts(replayed))
    else:
        _tell(replayed)
    return replayed.identical


def _ledger(address: str | None) -> Ledger:
    from countermark.errors import LedgerError
    from countermark.ledger import open_ledger

    store = open_ledger(ledger_address(address))
    if not store.chains():
        store.close()
        raise LedgerError(
            "there is no entry in this ledger", hint="name the ledger with --ledger or COUNTERMARK_LEDGER"
        )
    return store


def _replayer(store: Ledger, releases: Path | None, trust_root: str | None) -> Replayer:
    from countermark.errors import RegistryError
    from countermark.governance.access import pinned_root
    from countermark.records.clock import SystemClock
    from countermark.registry.directory import ServingDirectory
    from countermark.registry.git import Git
    from countermark.replay.replay import Replayer

    folder = (releases or bank_root() / "releases").absolute()
    git = Git(folder if folder.is_dir() else Path.cwd())
    root = pinned_root(git, trust_root)
    if root is None:
        raise RegistryError(
            "no trust root is pinned",
            hint="--trust-root DIGEST or COUNTERMARK_TRUST_ROOT; 'countermark governance show' prints it",
        )
    directory = ServingDirectory(folder, root)
    state = directory.state(SystemClock().now())
    # Tags are compared where they are: a serving directory outside of a bank's repository has none.
    here = git.resolve("refs/countermark/log") is not None
    return Replayer(store, directory, state, tags=(lambda name: git.resolve(f"refs/tags/{name}")) if here else None)


def _sampled(replayer: Replayer, store: Ledger, count: int, seed: int, model: str | None, as_json: bool) -> None:
    from countermark.errors import ReplayError
    from countermark.replay.sample import draw

    identities = draw(store, count, seed, model=model)
    if not identities:
        raise ReplayError(
            "there is no decision to replay", got="a ledger without decisions" + (f" of '{model}'" if model else "")
        )
    replayed = replayer.sample(identities)
    wrong = [one for one in replayed if not one.identical]
    if as_json:
        print_json(
            {
                "drawn": len(replayed),
                "identical": len(replayed) - len(wrong),
                "seed": seed,
                "different": [_facts(one) for one in wrong],
            }
        )
    else:
        releases = sorted({str(one.release.bundle.ref) for one in replayed if one.release is not None})
        click.echo(
            f"{len(replayed)} decisions drawn with seed {seed}, "
            f"answered by {', '.join(releases) or 'nothing that opens'}"
        )
        click.echo(f"{len(replayed) - len(wrong)} identical to the last bit, {len(wrong)} different")
        for one in wrong[:_SHOWN]:
            _tell(one)
        if len(wrong) > _SHOWN:
            click.echo(f"and {len(wrong) - _SHOWN} more; --json lists all")
    if wrong:
        raise ReplayError(
            f"{len(wrong)} of {len(replayed)} decisions were not reproduced",
            got=", ".join(sorted({d.what for one in wrong for d in one.differences})),
        )


def _one(replayer: Replayer, identity: str, *, seed: int, to: Path | None, explain: str | None, as_json: bool) -> None:
    from countermark.errors import ReplayError

    replayed = replayer.with_afterlife(replayer.replay(identity))
    written: list[Path] = []
    told: object = _facts(replayed)
    if replayed.record is not None and replayed.release is not None and (as_json or to or explain):
        from countermark.records.clock import SystemClock, iso
        from countermark.records.decision import as_document
        from countermark.replay.decision_file import decision_file
        from countermark.replay.second_opinion import explain as second

        opinion = None if explain is None else second(explain, replayed.record, replayed.release, seed=seed)
        made = decision_file(
            replayed, replayer.state, made_at=iso(SystemClock().now()), notes=_notes(replayed), second_opinion=opinion
        )
        told = as_document(made)
        if to is not None:
            from countermark.replay.writing import write_decision_file

            written = write_decision_file(made, to)
        if opinion is not None and not as_json:
            click.echo(
                f"second opinion ({opinion.method}, fit {opinion.fit:.2f}): {opinion.agrees} of its first "
                f"{opinion.top} inputs are among the exact ones"
                + (". It explains little: do not rely on it" if opinion.weak else "")
            )
    if as_json:
        print_json(told)
    else:
        _tell(replayed)
        for path in written:
            click.echo(f"  {path}")
    if not replayed.identical:
        raise ReplayError(
            f"decision '{identity}' was not reproduced",
            got=", ".join(dict.fromkeys(d.what for d in replayed.differences)),
        )


def _notes(replayed: Replayed) -> list[str]:
    from countermark.serving.environment import environment_digest

    record = replayed.record
    if record is None or record.digests.environment == environment_digest():
        return []
    return ["Replayed in another environment (interpreter, processor or library versions) than the one that decided."]


def _facts(replayed: Replayed) -> dict[str, object]:
    record = replayed.record
    return {
        "id": replayed.id,
        "identical": replayed.identical,
        "release": None if record is None else f"{record.model}@v{record.release.version}",
        "differences": [{"what": d.what, "recorded": d.recorded, "found": d.found} for d in replayed.differences],
        "witness": None if replayed.place is None else replayed.place.told,
    }


def _tell(replayed: Replayed) -> None:
    record, entry = replayed.record, replayed.entry
    word = click.style("IDENTICAL", fg="green") if replayed.identical else click.style("DIFFERENT", fg="red")
    click.echo(f"{word} {replayed.id}")
    if record is not None and entry is not None:
        grade = f", grade {record.grade}" if record.grade else ""
        reasons = f", reasons {', '.join(r.code for r in record.reasons)}" if record.reasons else ""
        click.echo(
            f"  {record.at}: {record.decision} by {record.model}@v{record.release.version}, "
            f"score {record.probability:.6g}{grade}{reasons}"
        )
        click.echo(f"  ledger chain {entry.chain}, seq {entry.seq}, hash {entry.hash[:16]}")
    if replayed.place is not None:
        click.echo(f"  {replayed.place.told}")
    for d in replayed.differences:
        click.echo(f"  {d.what}: recorded {d.recorded}")
        click.echo(f"  {' ' * len(d.what)}  found    {d.found}")
    for override in replayed.overrides:
        click.echo(f"  overridden by {override.by} at {override.at}: {override.outcome} ({override.reason})")
    for outcome in replayed.outcomes:
        click.echo(f"  outcome {outcome.value:g}, known at {outcome.known_at}")
