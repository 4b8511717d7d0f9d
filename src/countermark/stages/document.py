"""Stages that make documents: render, portfolio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from countermark.records.evidence import Pack
from countermark.report.portfolio import portfolio_of
from countermark.report.render import render, render_portfolio
from countermark.stages.files import open_model, read_json, write_json

Progress = Callable[[str], None]


def run_render(root: Path, name: str, progress: Progress) -> None:
    """Render the draft PDF of a model's pack."""
    files = open_model(root, name)
    stats = render(
        (files.report / "pack.json").read_bytes(),
        files.report / "validation_pack.pdf",
        files.params["bank"]["paper"],
    )
    progress(f"{stats.pages} pages, {stats.size / 1e6:.1f} MB, {stats.seconds:.1f} s")


def run_portfolio(root: Path, _: str, progress: Progress) -> None:
    """Write the one-page report over every model of the bank."""
    bank = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["bank"]
    names = sorted(path.parent.name for path in root.glob("models/*/params.yaml"))
    packs = tuple(Pack.model_validate(read_json(root / "reports" / name / "pack.json")) for name in names)
    folder = root / "reports" / "portfolio"
    folder.mkdir(parents=True, exist_ok=True)
    portfolio = portfolio_of(packs, title=f"{bank['name']}: model portfolio").model_dump(mode="json")
    write_json(folder / "portfolio.json", portfolio)
    render_portfolio(portfolio, folder / "portfolio.pdf", bank["paper"])
    progress(f"{len(packs)} models")
