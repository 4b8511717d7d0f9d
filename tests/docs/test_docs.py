"""The manual is true: generated pages are current, and every code block runs."""

from __future__ import annotations

import json
import re
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from countermark.records.digest import pretty_json
from tests.e2e.shell import shell
from tests.report.builders import pack

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    info: str
    text: str


def blocks() -> list[Block]:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        Block(page.relative_to(ROOT).as_posix(), match[1].strip(), match[2])
        for page in pages
        for match in _FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


RUN = sorted({block.page for block in blocks() if block.info == "sh"})


def test_every_block_says_what_it_is() -> None:
    known = {"sh", "sh ci", "yaml", "yaml source", "yaml contract", "yaml feature_view", "json", "text", "python"}
    assert {block.info for block in blocks()} <= known, [(b.page, b.info) for b in blocks() if b.info not in known]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_shell_blocks_of_a_page_run_in_order(page: str, tmp_path: Path) -> None:
    script = "set -eu\n" + "\n".join(b.text for b in blocks() if b.page == page and b.info == "sh")
    done = shell(tmp_path, "bash", "-c", script)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_blocks_that_ci_runs_are_make_targets_that_ci_calls() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for b in blocks() if b.info == "sh ci" for line in b.text.splitlines() if line.strip()]
    assert lines
    for line in lines:
        assert line.startswith("make ")
        assert re.search(rf"^{line.removeprefix('make ').strip()}:", makefile, re.MULTILINE), line


def test_python_blocks_run_beside_a_pack(tmp_path: Path) -> None:
    document = pack().sealed().model_dump(mode="json")
    (tmp_path / "pack.json").write_bytes(pretty_json(document))
    for block in blocks():
        if block.info == "python":
            done = shell(tmp_path, sys.executable, "-c", block.text)
            assert done.returncode == 0, done.stderr
    (tmp_path / "pack.json").write_bytes(pretty_json(document | {"as_of": "1999-01-01"}))
    broken = [b for b in blocks() if b.info == "python" and shell(tmp_path, sys.executable, "-c", b.text).returncode]
    assert [b.page for b in broken] == ["docs/reference/pack_format.md"]


def test_data_blocks_parse() -> None:
    for block in blocks():
        if block.info.startswith("yaml"):
            yaml.safe_load(block.text)
        if block.info == "json":
            json.loads(block.text)


def test_generated_pages_are_current() -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    for name, text in generated.items():
        committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert committed == text, f"{name} differs: run 'make docs'"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} -> {target}"
