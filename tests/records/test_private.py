"""Files about people are readable for their owner alone, unless somebody opens them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from countermark.records.private import make_private, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("umask", "expected"), [(0o000, 0o600), (0o022, 0o600), (0o077, 0o600), (0o277, 0o400)])
def test_a_new_file_is_private_and_the_umask_can_only_take_away(tmp_path: Path, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        make_private(tmp_path / "new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == expected


def test_a_file_that_is_there_keeps_mode_and_content(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_bytes(b"old")
    path.chmod(0o640)
    make_private(path)
    assert (mode(path), path.read_bytes()) == (0o640, b"old")
    write_private(path, b"n")
    assert (mode(path), path.read_bytes()) == (0o640, b"n")
