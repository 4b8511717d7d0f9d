"""A build is proposed only if it was made from the files as they stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from countermark.errors import RegistryError
from countermark.governance.inputs import locked_stages, require_same_inputs
from countermark.governance.workflow import propose
from countermark.registry.git import Git
from tests.governance.desk import MODEL, REF, Desk, plain_pack, without_gates
from tests.registry.people import key

ROWS = b"key,y\na,0\nb,1\n"
LOCK = f"models/{MODEL}/dvc.lock"
SOURCE = "sources/toy/dvc.lock"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def listed(files: dict[str, bytes]) -> str:
    """What DVC calls a folder: the digest of the list of its files."""
    entries = [{"md5": md5(data), "relpath": name} for name, data in sorted(files.items())]
    return md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A bank whose locks say what was read: a CSV file, what was taken in from it, and the spec."""
    desk = Desk(tmp_path / "bank", pack=without_gates(plain_pack()))
    taken = {"client/part-0.parquet": b"PAR1 client", "z.json": b"{}"}
    for name, data in taken.items():
        desk.write(f"data/sources/toy/{name}", data)
    desk.write(".dvcignore", b"# made while writing\n*.partial\n__pycache__\n")
    desk.write(".gitignore", (desk.root / ".gitignore").read_bytes() + b"/data/sources/\n")
    desk.write("toy.csv", ROWS)
    desk.write(f"conf/model/{MODEL}.yaml", b"tier: 1\n")
    folder = {"path": "data/sources/toy", "md5": listed(taken), "size": 1, "nfiles": 2}
    ingest = {"cmd": "x", "deps": [{"path": "toy.csv", "md5": md5(ROWS)}], "outs": [folder]}
    desk.write(SOURCE, lock({"ingest": ingest}))
    stages = yaml.safe_load((desk.root / LOCK).read_text())["stages"]
    stages["all"]["deps"] = [
        folder,
        {"path": f"conf/model/{MODEL}.yaml", "md5": md5(b"tier: 1\n")},
        {"path": f"models/{MODEL}/out/scorer.json", "md5": "made by the build itself"},
        {"path": "s3://bucket/key", "etag": "not a file"},
    ]
    desk.write(LOCK, lock(stages))
    desk.commit("with what was read")
    return desk


def lock(stages: dict[str, Any]) -> bytes:
    return yaml.safe_dump({"schema": "2.0", "stages": stages}).encode()


def taken_in_again(desk: Desk) -> None:
    path = desk.root / SOURCE
    path.write_bytes(path.read_bytes().replace(b".dir", b"f.dir"))
    desk.commit("ingested, model not built")


def test_what_was_built_from_these_files_is_proposed(desk: Desk) -> None:
    desk.write("data/sources/toy/x.partial", b"another process writes")
    propose(desk.bank, key("dana"), MODEL)
    assert desk.bank.state().release(REF).status == "candidate"


CHANGES: dict[str, tuple[Callable[[Desk], object], str]] = {
    "rows were edited": (lambda d: d.write("toy.csv", ROWS + b"c,0\n"), "toy.csv (changed)"),
    "rows were edited and committed": (
        lambda d: (d.write("toy.csv", ROWS + b"c,0\n"), d.commit("rows")), "toy.csv (changed)"),
    "rows are gone": (lambda d: (d.root / "toy.csv").unlink(), "toy.csv (gone)"),
    "the spec was committed and not built": (
        lambda d: (d.write(f"conf/model/{MODEL}.yaml", b"tier: 2\n"), d.commit("tier")), f"conf/model/{MODEL}.yaml (changed)"),
    "a file of the source was edited": (
        lambda d: d.write("data/sources/toy/client/part-0.parquet", b"PAR1 other"), "data/sources/toy (changed)"),
    "a file was added to the source": (
        lambda d: d.write("data/sources/toy/client/part-1.parquet", b"PAR1"), "data/sources/toy (changed)"),
    "the source was taken in again": (taken_in_again, "data/sources/toy (taken in again since)"),
    "the source's lock is not committed": (
        lambda d: ((d.root / SOURCE).unlink(), d.commit("x")), f"{SOURCE} (not committed)"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CHANGES, ids=list(CHANGES))
def test_what_changed_after_the_build_is_named(desk: Desk, sentence: str) -> None:
    spoil, says = CHANGES[sentence]
    spoil(desk)
    with pytest.raises(RegistryError, match="was not built from the files as they are now") as refused:
        propose(desk.bank, key("dana"), MODEL)
    assert says in str(refused.value)
    assert f"countermark build {MODEL}" in str(refused.value)


def test_a_source_that_is_not_on_this_machine_is_known_by_its_lock(desk: Desk) -> None:
    import shutil

    shutil.rmtree(desk.root / "data")
    propose(desk.bank, key("dana"), MODEL)


def test_many_changes_are_counted(desk: Desk) -> None:
    stages = {"all": {"deps": [{"path": f"file{k}", "md5": "0" * 32} for k in range(7)]}}
    with pytest.raises(RegistryError, match=r"file3 \(gone\) and 3 more"):
        require_same_inputs(desk.root, MODEL, stages, Git(desk.root))


@pytest.mark.parametrize("text", [b"{", b"stages: 1", b"[]", b"stages: {a: 1}", b"stages: {a: {deps: [1]}}"])
def test_a_damaged_lock_is_refused(desk: Desk, text: bytes) -> None:
    desk.write(SOURCE, text)
    desk.commit("x")
    with pytest.raises(RegistryError, match="the lock file is damaged"):
        locked_stages(desk.root, SOURCE, Git(desk.root))
