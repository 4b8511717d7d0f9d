"""Most tests of the workflow do not look at the document: they get one that is made in no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from countermark.governance import publication
from countermark.records.digest import sha256_hex
from countermark.records.signoff import SignOff
from countermark.registry.bodies import GovernanceBody
from tests.governance.desk import Desk, plain_pack, without_gates


def quick_final(pack_bytes: bytes, signoff: SignOff, log: bytes, out: Path, paper: str = "a4") -> None:
    """A stand-in for the renderer with its one property: the same input gives the same bytes."""
    parts = (
        b"%PDF-1.7 final",
        sha256_hex(pack_bytes).encode(),
        signoff.to_json(),
        sha256_hex(log).encode(),
        paper.encode(),
    )
    out.write_bytes(b"\n".join(parts))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "render_final", quick_final)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A bank with a model whose gates all hold."""
    return Desk(tmp_path / "bank", pack=without_gates(plain_pack()))


def gated(tmp_path: Path, *tests: str, body: GovernanceBody | None = None) -> Desk:
    """A bank with a model of which these gating tests are Not evaluated."""
    return Desk(tmp_path / "bank", body, without_gates(plain_pack(), *tests))
