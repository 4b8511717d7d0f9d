"""A wheel as a container of data: made here, fetched by the real pip without any index."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from countermark.contracts.sources import ingest
from countermark.contracts.wheel import default_cache, fetch_wheel, read_member
from countermark.errors import SourceError
from countermark.records.digest import sha256_hex
from tests.contracts.sources_of import source, wheel, wheel_source

DATA = b"id,y\n1,0\n2,1\n"
MEMBER = "demodata/loans.csv"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_the_member_is_read_and_the_package_stays_out(index: Path, tmp_path: Path) -> None:
    path = wheel(index, {MEMBER: DATA, "demodata/__init__.py": b"raise SystemExit('imported')"}, requires="<3")
    cache = tmp_path / "cache"
    ingested = ingest(wheel_source(path, MEMBER, DATA), tmp_path, cache)
    assert ingested.tables["main"].column("y").to_pylist() == ["0", "1"]
    assert "demodata" not in sys.modules
    assert [p.name for p in cache.iterdir()] == [f"{wheel_source(path, MEMBER, DATA).wheel_sha256}.whl"]


def test_a_cached_wheel_needs_no_index(index: Path, tmp_path: Path) -> None:
    path = wheel(index, {MEMBER: DATA})
    declared = wheel_source(path, MEMBER, DATA)
    fetch_wheel(declared, tmp_path / "cache")
    path.unlink()
    assert read_member(declared, tmp_path / "cache") == DATA


def test_a_damaged_cache_entry_is_fetched_again(index: Path, tmp_path: Path) -> None:
    declared = wheel_source(wheel(index, {MEMBER: DATA}), MEMBER, DATA)
    kept = fetch_wheel(declared, tmp_path / "cache")
    kept.write_bytes(b"damaged")
    assert read_member(declared, tmp_path / "cache") == DATA


def test_another_wheel_than_declared(index: Path, tmp_path: Path) -> None:
    path = wheel(index, {MEMBER: DATA})
    declared = wheel_source(path, MEMBER, DATA)
    path.unlink()
    wheel(index, {MEMBER: DATA, "demodata/extra.txt": b"x"})
    with pytest.raises(SourceError, match="is not the declared file") as caught:
        fetch_wheel(declared, tmp_path / "cache")
    assert caught.value.expected == declared.wheel_sha256
    assert caught.value.got is not None
    assert len(caught.value.got) == 64
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_that_no_index_has(index: Path, tmp_path: Path) -> None:
    declared = wheel_source(wheel(index, {MEMBER: DATA}), MEMBER, DATA, version="9.9")
    with pytest.raises(SourceError, match="cannot be fetched") as caught:
        fetch_wheel(declared, tmp_path / "cache")
    assert "://" not in str(caught.value)


def test_a_member_that_the_wheel_lacks(index: Path, tmp_path: Path) -> None:
    declared = wheel_source(wheel(index, {MEMBER: DATA}), "elsewhere/loans.csv", DATA)
    with pytest.raises(SourceError, match="has no member") as caught:
        read_member(declared, tmp_path / "cache")
    assert caught.value.got == MEMBER


def test_a_member_that_is_another_file(index: Path, tmp_path: Path) -> None:
    declared = wheel_source(wheel(index, {MEMBER: DATA}), MEMBER, b"something else")
    with pytest.raises(SourceError, match="is not the declared file"):
        read_member(declared, tmp_path / "cache")


def test_a_cached_file_that_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / f"{sha256_hex(b'no wheel')}.whl").write_bytes(b"no wheel")
    declared = source(
        kind="wheel", package="demodata", version="1.0", wheel_sha256=sha256_hex(b"no wheel"), member=MEMBER,
        sha256=sha256_hex(DATA), format="csv",
    )  # fmt: skip
    with pytest.raises(SourceError, match="cannot be unpacked"):
        ingest(declared, tmp_path, tmp_path)


def test_a_cache_that_may_not_be_written(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = wheel_source(wheel(index, {MEMBER: DATA}), MEMBER, DATA)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SourceError, match="no permission to write the wheel cache"):
        fetch_wheel(declared, tmp_path / "cache")


def test_the_cache_moves_with_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTERMARK_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("COUNTERMARK_CACHE")
    assert default_cache().parts[-2:] == ("countermark", "wheels")


def test_sources_of_other_kinds_do_not_touch_the_cache(tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_bytes(DATA)
    ingest(source(), tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
