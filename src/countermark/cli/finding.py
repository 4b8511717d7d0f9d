"""``countermark finding``: open, close, waive, list."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.registry_options import (
    json_option,
    key_option,
    opened,
    print_json,
    release_of,
    signing,
    trust_option,
)

_SEVERITIES = ("critical", "high", "medium", "low", "observation")


@click.group()
def finding() -> None:
    """Findings: what somebody has to act on, signed on the log."""


@finding.command("open")
@click.argument("subject", metavar="RELEASE|MODEL")
@click.option("--severity", type=click.Choice(_SEVERITIES), required=True, help="Critical and high stop a release.")
@click.option("--text", required=True, help="What was found.")
@click.option("--test", help="Test that shows it.")
@click.option("--owner", help="Principal, person or role that has to act; the model's owner otherwise.")
@click.option("--due", help="Date by which it has to be settled.")
@key_option
@trust_option
def open_(
    subject: str, severity: str, text: str, test: str | None, owner: str | None, due: str | None, key: Path | None,
    trust_root: str | None,
) -> None:  # fmt: skip
    """Open a finding on a RELEASE, or on every release of a MODEL."""
    from countermark.governance.workflow import open_finding
    from countermark.registry.bodies import FindingOpened

    bank = opened(trust_root)
    release = str(release_of(subject)) if "@" in subject else None
    body = FindingOpened(
        model=subject.partition("@")[0],
        release=release,
        severity=severity,  # type: ignore[arg-type]
        test=test,
        text=text,
        owner=owner,
        due=due,
    )
    done = open_finding(bank, signing(bank, key), body)
    click.echo(f"finding F-{done.position} opened on {subject} ({severity})")
    opened_ = done.state.findings[f"F-{done.position}"].body
    click.echo(f"  waits for {opened_.owner}" + (f" until {opened_.due}" if opened_.due else ""))
    if severity in ("critical", "high"):
        click.echo("  it stops approval and publication until it is closed, waived by risk"
                   + ("" if severity == "critical" else ", or covered by an approver's condition"))  # fmt: skip


@finding.command()
@click.argument("id_", metavar="FINDING")
@click.option("--text", required=True, help="What settles it.")
@click.option("--evidence", type=click.Path(path_type=Path), help="File that settles it, bound by digest.")
@key_option
@trust_option
def close(id_: str, text: str, evidence: Path | None, key: Path | None, trust_root: str | None) -> None:
    """Close FINDING; not for those who built the model."""
    from countermark.governance.workflow import close_finding

    bank = opened(trust_root)
    close_finding(bank, signing(bank, key), id_, text, evidence)
    click.echo(f"finding {id_} closed: {text}")


@finding.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--test", "tests", multiple=True, help="Gating test that Failed or was Not evaluated; repeatable.")
@click.option("--finding", "ids", multiple=True, help="Finding; repeatable.")
@click.option("--reason", required=True, help="Why it is accepted.")
@click.option("--owner", help="Who answers for it; the model's owner otherwise.")
@click.option("--expires", required=True, help="Date until which it is accepted.")
@key_option
@trust_option
def waive(
    ref: str, tests: tuple[str, ...], ids: tuple[str, ...], reason: str, owner: str | None, expires: str,
    key: Path | None, trust_root: str | None,
) -> None:  # fmt: skip
    """Accept, as risk, gating tests or findings of RELEASE until a date; each is signed by itself."""
    from countermark.errors import RegistryError
    from countermark.governance.workflow import waive as run

    subjects: list[tuple[str | None, str | None]] = [(test, None) for test in tests]
    subjects += [(None, id_) for id_ in ids]
    if not subjects:
        raise RegistryError("nothing to waive", expected="--test TEST or --finding FINDING")
    bank = opened(trust_root)
    signer, release = signing(bank, key), release_of(ref)
    for subject in subjects:
        done = run(bank, signer, release, subject=subject, reason=reason, owner=owner, expires=expires)
        click.echo(f"{subject[0] or subject[1]} of {ref} waived until {expires}: {reason}")
    left = done.state.release(release).uncovered(done.state.now)
    if left:
        click.echo("  still uncovered: " + ", ".join(gate.test for gate in left))


@finding.command("list")
@click.argument("model", required=False)
@click.option("--all", "everything", is_flag=True, help="Closed findings as well.")
@json_option
@trust_option
def list_(model: str | None, everything: bool, as_json: bool, trust_root: str | None) -> None:
    """List findings, in the order in which they were opened."""
    state = opened(trust_root).state()
    found = [
        f
        for f in state.findings.values()
        if (everything or f.closed is None) and (model is None or f.body.model == model)
    ]
    if as_json:
        print_json([{"id": f.id, "by": f.by, "closed": f.closed, **f.body.document()} for f in found])
        return
    if not found:
        click.echo("no finding" if everything else "no open finding")
    for f in found:
        about = f.body.release or f.body.model
        state_ = "open" if f.closed is None else "closed"
        click.echo(f"{f.id:<6} {state_:<6} {f.body.severity:<11} {about}: {f.body.text}")
        click.echo(f"       by {f.by}, owner {f.body.owner or 'not named'}, due {f.body.due or 'no date'}")
