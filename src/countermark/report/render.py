"""Rendering: verified bytes in, one PDF out, in a process of its own.

The bytes of a PDF depend on the pack and on nothing else: the renderer runs in a fresh process with its own
clock (``SOURCE_DATE_EPOCH`` is the as-of date), its own fonts (only those that ship with the package), its own
locale and time zone. The result is written beside the target and moved into place.
"""

from __future__ import annotations

import base64
import calendar
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from countermark.errors import ReportError
from countermark.records.decision_file import DecisionFile
from countermark.records.digest import canonical_json, sha256_hex
from countermark.records.review import Review
from countermark.records.signoff import SignOff
from countermark.report.final import check_match
from countermark.report.portfolio import PortfolioPage, read_portfolio
from countermark.report.reading import read_pack, read_record

_PAPERS = ("a4", "letter")
_FONTS = ("Inter-Regular.ttf", "Inter-SemiBold.ttf", "Inter-Italic.ttf", "JetBrainsMono-Regular.ttf")


@dataclass(frozen=True, slots=True)
class RenderStats:
    """What a rendering took. Never part of a pack.

    Attributes:
        pages: Pages of the PDF.
        size: Bytes of the PDF.
        sha256: Digest of the PDF.
        seconds: Wall time of the rendering process.
        peak_memory: Peak resident memory of the rendering process, in bytes.
    """

    pages: int
    size: int
    sha256: str
    seconds: float
    peak_memory: int


def render(pack_bytes: bytes, out: Path, paper: str = "a4") -> RenderStats:
    """Render ``pack.json`` as a tagged PDF/A-3a.

    Args:
        pack_bytes: The file, byte for byte; it is attached as it is.
        out: Target file; replaced as a whole or not at all.
        paper: ``a4`` or ``letter``.

    Raises:
        ReportError: If the pack is not whole, the paper is unknown, or the renderer fails.
    """
    if paper not in _PAPERS:
        raise ReportError("unknown paper size", expected="'a4' or 'letter'", got=repr(paper)[:40])
    pack = read_pack(pack_bytes)
    return _render({"task": "pack", "paper": paper}, pack_bytes, out, _epoch(pack.as_of))


def render_final(pack_bytes: bytes, signoff: SignOff, log: bytes, out: Path, paper: str = "a4") -> RenderStats:
    """Render the Final: the draft with its sign-off page and the signed log attached.

    Args:
        pack_bytes: ``pack.json``, byte for byte.
        signoff: Who signed, and under which conditions.
        log: The signed log up to the last approval, as JSON lines.
        out: Target file; replaced as a whole or not at all.
        paper: ``a4`` or ``letter``.

    Raises:
        ReportError: If the pack is not whole, the sign-off is of another pack, or the renderer fails.
    """
    if paper not in _PAPERS:
        raise ReportError("unknown paper size", expected="'a4' or 'letter'", got=repr(paper)[:40])
    pack = read_pack(pack_bytes)
    check_match(pack, signoff)
    task = {
        "task": "pack",
        "paper": paper,
        "signoff": signoff.to_json().decode("utf-8"),
        "log": base64.b64encode(log).decode("ascii"),
    }
    return _render(task, pack_bytes, out, _epoch(pack.as_of))


def render_portfolio(portfolio: Mapping[str, Any], out: Path, paper: str = "a4") -> RenderStats:
    """Render one page with every model: lights, key numbers, as-of date, pack hash, opinion.

    Args:
        portfolio: What ``report.portfolio.PortfolioPage`` accepts.
        out: Target file; replaced as a whole or not at all.
        paper: ``a4`` or ``letter``.

    Raises:
        ReportError: If the portfolio breaks its schema, the paper is unknown, or the renderer fails.
    """
    if paper not in _PAPERS:
        raise ReportError("unknown paper size", expected="'a4' or 'letter'", got=repr(paper)[:40])
    page: PortfolioPage = read_portfolio(portfolio)
    content = canonical_json(page.model_dump(mode="json"))
    return _render({"task": "portfolio", "paper": paper}, content, out, _epoch(page.as_of))


def render_decision_file(content: bytes, out: Path) -> RenderStats:
    """Render the file of a decision as one A4 page that carries the JSON inside.

    Args:
        content: A decision file (``records.decision_file.DecisionFile``) as JSON; attached byte for byte.
        out: Target file; replaced as a whole or not at all.

    Raises:
        ReportError: If it is no decision file, or the renderer fails.
    """
    made = read_record(content, DecisionFile, "decision file")
    return _render({"task": "decision"}, content, out, _epoch(made.made_at[:10]))


def render_review(content: bytes, out: Path) -> RenderStats:
    """Render a weekly review; page 1 holds the decisions that are needed.

    Args:
        content: A review (``records.review.Review``) as JSON; attached byte for byte.
        out: Target file; replaced as a whole or not at all.

    Raises:
        ReportError: If it is no review, or the renderer fails.
    """
    made = read_record(content, Review, "review")
    return _render({"task": "review"}, content, out, _epoch(made.as_of[:10]))


def _epoch(as_of: str) -> int:
    try:
        day = dt.date.fromisoformat(as_of)
    except ValueError:
        raise ReportError("'as_of' is not a date", expected="YYYY-MM-DD", got=repr(as_of)[:20]) from None
    return max(0, calendar.timegm(day.timetuple()))


def _render(task: dict[str, str], content: bytes, out: Path, epoch: int) -> RenderStats:
    if not out.parent.is_dir():
        raise ReportError("the folder of the PDF does not exist", expected="an existing folder", got=str(out.parent))
    with tempfile.TemporaryDirectory(prefix="countermark-render-") as scratch:
        home = Path(scratch)
        _write_font_configuration(home)
        finished = home / "out.pdf"
        started = time.perf_counter()
        answer = _run({**task, "out": str(finished)}, content, home, epoch)
        seconds = time.perf_counter() - started
        data = finished.read_bytes()
    _replace(out, data)
    return RenderStats(
        pages=int(answer["pages"]),
        size=len(data),
        sha256=sha256_hex(data),
        seconds=seconds,
        peak_memory=int(answer["peak_memory"]),
    )


def _run(task: dict[str, str], content: bytes, home: Path, epoch: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "countermark.report.worker"]
    payload = json.dumps(task).encode("utf-8") + b"\n" + content
    done = subprocess.run(command, input=payload, capture_output=True, env=_environment(home, epoch), check=False)
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ReportError(
            "the renderer stopped",
            expected="a PDF",
            got=last[-1][:300] if last else f"exit code {done.returncode}",
            hint="is the 'report' extra installed (weasyprint, jinja2, markdown-it-py)?",
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _environment(home: Path, epoch: int) -> dict[str, str]:
    """Nothing of the caller's environment but where libraries are found."""
    kept = {k: v for k, v in os.environ.items() if k in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV")}
    return {
        **kept,
        # No program is started from here; with a path, the search for libraries would run the machine's compiler.
        "PATH": str(home),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": str(epoch),
        "FONTCONFIG_FILE": str(home / "fonts.conf"),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "TMPDIR": str(home),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }


def _write_font_configuration(home: Path) -> None:
    fonts = home / "fonts"
    fonts.mkdir()
    source = resources.files("countermark.report").joinpath("fonts")
    for name in _FONTS:
        (fonts / name).write_bytes(source.joinpath(name).read_bytes())
    (home / "fonts.conf").write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">\n'
        f"<fontconfig><dir>{fonts}</dir><cachedir>{home / 'cache'}</cachedir></fontconfig>\n",
        encoding="utf-8",
    )


def _replace(out: Path, data: bytes) -> None:
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        os.replace(partial, out)
    except OSError as broken:
        partial.unlink(missing_ok=True)
        got = broken.strerror or type(broken).__name__
        raise ReportError("the PDF cannot be written", got=got, file=out) from broken
