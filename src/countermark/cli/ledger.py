"""``countermark ledger``: look at the durable records, verify them, hand them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import ledger_address, ledger_option

if TYPE_CHECKING:
    from countermark.ledger import Checkpoint, Ledger, VerifyReport

_GROWTH = b'"countermark/consistency/1"'
_INCLUSION = b'"countermark/inclusion/1"'
_FILE = click.Path(path_type=Path, dir_okay=False)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def ledger() -> None:
    """Durable, hash-chained records of decisions, outcomes and rollouts."""


@ledger.command()
@ledger_option
@_as_json
def heads(address: str | None, as_json: bool) -> None:
    """Show the last entry of every chain."""
    with _opened(address) as store:
        found = store.heads()
    if as_json:
        _print({chain: {"hash": digest, "seq": seq} for chain, (seq, digest) in found.items()})
        return
    for chain, (seq, digest) in sorted(found.items()):
        click.echo(f"{chain:20} {seq + 1:>10} entries  {digest}")


@ledger.command()
@ledger_option
@click.option("--export", "exported", type=_FILE, help="Verify this export instead of a ledger.")
@click.option("--proof", type=_FILE, help="Verify this proof of one decision instead of a ledger.")
@click.option(
    "--checkpoint", "kept", type=_FILE, multiple=True, help="A checkpoint that was kept elsewhere; repeat for more."
)
@_as_json
def verify(
    address: str | None, exported: Path | None, proof: Path | None, kept: tuple[Path, ...], as_json: bool
) -> None:
    """Recompute every hash of every chain and compare with checkpoints.

    Only a checkpoint that somebody else has kept can show that the end of a ledger was cut off, or that all of it was
    written anew.
    """
    from countermark.errors import LedgerError

    if proof is not None:
        _verify_proof(proof, as_json)
        return
    report = _verified(address, exported, [_checkpoint(path) for path in kept], as_json)
    if report.first_problem is not None:
        raise LedgerError(
            f"this ledger does not verify: {report.first_problem}",
            hint="keep it as it is, and compare with an export or a backup",
        )


def verify_target(target: str | None, _ledger: str | None, _trust_root: str | None, as_json: bool) -> bool:
    """Check what 'countermark verify' was given: a ledger's address or folder, a chain's file, an export or a proof."""
    path = Path(str(target))
    if "://" not in str(target) and path.is_file():
        if path.suffix == ".sqlite":
            return _verified(str(path.absolute().parent), None, [], as_json).ok
        # An export is read line by line; a proof is a single line that begins otherwise.
        with path.open("rb") as stream:
            first = stream.readline(1 << 24)
        if _GROWTH in first or _INCLUSION in first:
            _verify_proof(path, as_json)
            return True
        return _verified(None, path, [], as_json).ok
    return _verified(target, None, [], as_json).ok


def _verified(address: str | None, exported: Path | None, checkpoints: list[Checkpoint], as_json: bool) -> VerifyReport:
    """Verify a ledger or an export, and tell what was found."""
    from countermark.ledger import verify_export

    if exported is not None:
        report = verify_export(exported, checkpoints)
    else:
        with _opened(address) as store:
            report = store.verify(checkpoints=checkpoints)
    if as_json:
        import msgspec

        _print({**msgspec.to_builtins(report), "entries": report.entries, "ok": report.ok})
    else:
        _tell(report, given=len(checkpoints))
    return report


def _tell(report: VerifyReport, given: int) -> None:
    for chain, count in sorted(report.chains.items()):
        click.echo(f"{chain:20} {count:>10} entries")
    for problem in report.problems:
        click.echo(f"problem: {problem}")
    for found in report.backdated[:10]:
        click.echo(f"note: chain '{found.chain}', seq {found.seq}: its instant goes back by {found.seconds:.0f} s")
    if report.ok:
        click.echo(f"every hash of {report.entries} entries holds; {report.checkpoints} checkpoints agree")
    if not given:
        click.echo("note: without a checkpoint kept elsewhere (--checkpoint), a cut-off end cannot be seen")


@ledger.command()
@ledger_option
@click.argument("path", type=_FILE)
def export(address: str | None, path: Path) -> None:
    """Write all entries to PATH as JSON lines that verify without the ledger."""
    with _opened(address) as store:
        count = sum(seq + 1 for seq, _ in store.heads().values())
        digest = store.export(path)
    click.echo(f"wrote {count} entries to {path}")
    click.echo(f"sha256 {digest}")


@ledger.command("import")
@ledger_option
@click.argument("path", type=_FILE)
def import_(address: str | None, path: Path) -> None:
    """Record decisions that other systems made, from JSON lines.

    Each line has id, at, model, system and decision, and may have entity, version, p, reasons and request. All lines
    are checked before the first is recorded. What is on the ledger already is left as it is; the id of a decision made
    here, or of another content, is refused.
    """
    from countermark.ledger import open_ledger
    from countermark.records.clock import SystemClock
    from countermark.serving.imports import import_decisions, read_decisions

    records = read_decisions(path, SystemClock().now())
    with open_ledger(ledger_address(address)) as store:
        done = import_decisions(records, store)
    click.echo(f"recorded {done.recorded} decisions; {done.repeated} were there before")


@ledger.command()
@ledger_option
@click.option("--output", type=_FILE, help="Where to write the checkpoint for somebody else to keep.")
@click.option("--key", type=_FILE, help="Key to sign it with: a private key file, or a .pub whose key the agent holds.")
def checkpoint(address: str | None, output: Path | None, key: Path | None) -> None:
    """Write down where every chain stands, on the ledger and for somebody else to keep."""
    from countermark.ledger import open_ledger
    from countermark.records.clock import SystemClock, iso

    with _opened(address):
        pass
    with open_ledger(ledger_address(address), writer="checkpoint") as store:
        taken = store.checkpoint(iso(SystemClock().now()), None if key is None else _signature_of(key))
    for chain, head in sorted(taken.chains.items()):
        click.echo(f"{chain:20} {head.size:>10} entries  {head.hash}")
    click.echo(f"checkpoint {taken.digest} of {taken.at}" + (", signed" if taken.signature else ", not signed"))
    if output is not None:
        output.write_bytes(taken.to_json() + b"\n")
        click.echo(f"wrote {output}")


@ledger.command()
@ledger_option
@click.argument("decision", required=False)
@click.option("--since", type=_FILE, help="Instead of a decision: an earlier checkpoint that this one only adds to.")
@click.option("--checkpoint", "kept", type=_FILE, required=True, help="The checkpoint to prove by.")
@click.option("--output", type=_FILE, required=True, help="Where to write the proof.")
def prove(address: str | None, decision: str | None, since: Path | None, kept: Path, output: Path) -> None:
    """Write a short proof that a checkpoint covers DECISION, or continues an earlier one.

    Whoever holds the checkpoint can check it without the ledger: 'countermark ledger verify --proof'.
    """
    from countermark.records.private import write_private

    if (decision is None) == (since is None):
        raise click.UsageError("name a DECISION, or an earlier checkpoint with --since")
    checkpoint = _checkpoint(kept)
    with _opened(address) as store:
        if decision is not None:
            proof = store.prove("decision", decision, checkpoint)
            data, told = proof.to_json(), f"one entry, {len(proof.path)} hashes"
        elif since is not None:
            growth = store.prove_growth(_checkpoint(since), checkpoint)
            data, told = growth.to_json(), f"{len(growth.paths)} chains, {sum(map(len, growth.paths.values()))} hashes"
    write_private(output, data + b"\n")
    click.echo(f"wrote {output}: {told}")


def _verify_proof(path: Path, as_json: bool) -> None:
    from countermark.ledger import verify_growth, verify_proof

    data = _bytes(path)
    if _GROWTH in data:
        earlier, taken = verify_growth(data)
        facts: dict[str, object] = {"checkpoint": taken.digest, "earlier": earlier.digest}
        lines = [f"checkpoint {taken.digest} of {taken.at}", f"only adds to {earlier.digest} of {earlier.at}"]
    else:
        entry, taken = verify_proof(data)
        facts = {
            "chain": entry.chain,
            "checkpoint": taken.digest,
            "hash": entry.hash,
            "key": entry.key,
            "seq": entry.seq,
        }
        lines = [
            f"{entry.kind} '{entry.key}' is entry {entry.seq} of chain '{entry.chain}', written at {entry.at}",
            f"covered by checkpoint {taken.digest} of {taken.at}",
        ]
    signer = _signer(taken, path)
    if as_json:
        _print({**facts, "signer": signer})
        return
    lines.append(
        f"signed by {signer}" if signer else "note: the checkpoint is not signed; compare its digest with one kept"
    )
    click.echo("\n".join(lines))


def _checkpoint(path: Path) -> Checkpoint:
    from countermark.ledger import Checkpoint

    found = Checkpoint.from_json(_bytes(path))
    signer = _signer(found, path)
    if signer is not None:
        click.echo(f"checkpoint of {found.at} is signed by {signer}", err=True)
    return found


def _signature_of(key: Path) -> Callable[[bytes], str]:
    from countermark.registry.signing import KeySigner
    from countermark.registry.sshsig import CHECKPOINT_NAMESPACE

    signer = KeySigner(key)
    return lambda body: signer.sign(body, CHECKPOINT_NAMESPACE).decode("ascii")


def _signer(taken: Checkpoint, path: Path) -> str | None:
    """The public key whose signature a checkpoint carries, checked; None without one.

    Raises:
        LedgerError: If the signature is not of these bytes.
    """
    from countermark.errors import LedgerError, RegistryError
    from countermark.registry.sshsig import CHECKPOINT_NAMESPACE
    from countermark.registry.sshsig import verify as verify_signature

    if taken.signature is None:
        return None
    try:
        return verify_signature(taken.body.encode("utf-8"), taken.signature.encode("utf-8"), CHECKPOINT_NAMESPACE)
    except RegistryError as error:
        raise LedgerError(f"the signature of this checkpoint does not hold: {error.what}", file=path) from error


def _bytes(path: Path) -> bytes:
    from countermark.errors import LedgerError

    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerError("this file cannot be read", got=error.strerror, file=path) from error


def _opened(address: str | None) -> Ledger:
    """The ledger; a check that looked at nothing must not succeed."""
    from countermark.errors import LedgerError
    from countermark.ledger import open_ledger

    store = open_ledger(ledger_address(address))
    if not store.chains():
        store.close()
        raise LedgerError(
            "there is no entry in this ledger",
            hint="name the ledger with --ledger or COUNTERMARK_LEDGER",
        )
    return store


def _print(document: object) -> None:
    from countermark.records.digest import pretty_json

    click.echo(pretty_json(document).decode("utf-8"), nl=False)
