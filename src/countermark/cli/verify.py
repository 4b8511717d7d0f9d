"""``countermark verify``: one verb to check anything."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from countermark.cli.registry_options import json_option, opened, print_json, release_of, trust_option

_ELSEWHERE = {
    "ledger": "countermark.cli.ledger:verify_target",
    "decision": "countermark.cli.replay:verify_target",
}
"""Checks of other rooms: ``verify_target(target, ledger, trust_root, as_json)``, which prints and returns whether the
target holds."""


def kind_of(target: str) -> str:
    """What a target is, by its form: ``document``, ``release``, ``ledger`` or ``decision``."""
    if target.lower().endswith(".pdf"):
        return "document"
    if "@v" in target and "/" not in target:
        return "release"
    if "://" in target or Path(target).exists() or target.endswith((".jsonl", ".sqlite")):
        return "ledger"
    return "decision"


@click.command()
@click.argument("target", metavar="RELEASE|DOCUMENT.pdf|DECISION|LEDGER", required=False)
@click.option("--all", "everything", is_flag=True, help="The log, every tag, bundle, pack and signed review.")
@click.option("--render/--no-render", "render", default=True, help="Render documents again (the default).")
@click.option("--ledger", help="Ledger that a decision is looked up in.")
@json_option
@trust_option
def verify(
    target: str | None, everything: bool, render: bool, ledger: str | None, as_json: bool, trust_root: str | None
) -> None:
    """Check a release, a validation pack or review, a decision, a ledger, or everything."""
    from countermark.errors import RegistryError

    if (target is None) != everything:
        raise RegistryError("nothing to verify", expected="RELEASE, DOCUMENT.pdf, DECISION or LEDGER; or --all")
    kind = "all" if target is None else kind_of(target)
    if kind in _ELSEWHERE:
        held = _elsewhere(kind)(target, ledger, trust_root, as_json)
    else:
        held = _told(_checks(kind, target, render, trust_root), as_json)
    if not held:
        raise RegistryError(f"'{target or 'the bank'}' does not verify", hint="see the checks that failed above")


def _checks(kind: str, target: str | None, render: bool, trust_root: str | None) -> Sequence[Any]:
    from countermark.errors import ConfigError
    from countermark.governance.access import pinned_root
    from countermark.governance.check import check_all, check_document, check_release
    from countermark.records.clock import SystemClock
    from countermark.registry.git import Git

    if kind == "all":
        return check_all(opened(trust_root))
    if kind == "release":
        return check_release(opened(trust_root), release_of(str(target)), render_again=render)
    path = Path(str(target))
    try:
        bank = opened(trust_root, sync=False)
    except ConfigError:
        # A document is checked alone as well: a supervisor has no bank.
        root = pinned_root(Git(Path.cwd()), trust_root)
        return check_document(path, root, SystemClock().now(), render_again=render)
    return check_document(path, bank.log.trust_root, bank.now, bank=bank, render_again=render)


def _elsewhere(kind: str) -> Callable[[str | None, str | None, str | None, bool], bool]:
    module, _, name = _ELSEWHERE[kind].partition(":")
    found: Callable[[str | None, str | None, str | None, bool], bool] = getattr(importlib.import_module(module), name)
    return found


def _told(checks: Sequence[Any], as_json: bool) -> bool:
    from countermark.governance.check import passed

    if as_json:
        print_json([{"check": c.name, "outcome": c.outcome, "detail": c.detail} for c in checks])
        return passed(checks)
    signs = {"holds": ("ok", "green"), "fails": ("FAIL", "red"), "open": ("open", "yellow")}
    for check in checks:
        word, colour = signs[check.outcome]
        click.echo(f"{click.style(f'{word:<5}', fg=colour)} {check.name:<12} {check.detail}")
    return passed(checks)
