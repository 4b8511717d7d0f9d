"""The prepared review that most tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.ledger import open_ledger
from countermark.records.clock import iso
from countermark.records.review import Review
from countermark.review import signing
from countermark.review.prepare import prepare
from tests.review.week import AS_OF, Week
from tests.review.written import MINUTES, put


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    return Week(tmp_path_factory.mktemp("week"))


@pytest.fixture(scope="module")
def prepared(week: Week) -> Review:
    with open_ledger(week.address, writer="checkpoint") as ledger:
        taken = ledger.checkpoint(iso(AS_OF))
    with open_ledger(week.address) as ledger:
        return prepare(week.sources(ledger), AS_OF, sample=30, checkpoint=taken)


@pytest.fixture
def folder(prepared: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A review on its own ledger, ``tmp_path/own/ledger``, without its pages, which most tests do not look at."""
    monkeypatch.setattr(signing, "render_review", lambda data, out: out.write_bytes(b"%PDF"))
    put(prepared, tmp_path / "2026-W07", str(tmp_path / "own" / "ledger"))
    (tmp_path / "2026-W07" / "minutes.yaml").write_text(MINUTES)
    return tmp_path / "2026-W07"


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Week]:
    own = Week(tmp_path / "own")
    monkeypatch.chdir(own.root)
    monkeypatch.delenv("COUNTERMARK_TRUST_ROOT", raising=False)
    return own
