"""Declared sources and contracts for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from countermark.config.contract import Contract
from countermark.config.source import Source, WheelSource
from countermark.records.digest import file_digest, sha256_hex

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def source(**declared: Any) -> Source:
    """A source; ``kind: csv`` at ``loans.csv`` unless told otherwise."""
    base = {
        "kind": "csv", "name": "loans", "title": "Loans", "owner": "test", "licence": "none",
        "personal_data": "none", "time_zone": "UTC", "currency": "EUR",
    }  # fmt: skip
    if declared.get("kind", "csv") in ("csv", "parquet"):
        base["path"] = "loans.csv"
    return _SOURCE.validate_python(base | declared)


def contract(columns: dict[str, Any], **declared: Any) -> Contract:
    """A contract of table 'main'."""
    return Contract.model_validate({"name": "loans", "columns": columns} | declared)


def wheel(folder: Path, members: dict[str, bytes], *, requires: str = ">=3.8", version: str = "1.0") -> Path:
    """A real wheel with data files, as a package index would hold it."""
    info = f"demodata-{version}.dist-info"
    path = folder / f"demodata-{version}-py3-none-any.whl"
    meta = f"Metadata-Version: 2.1\nName: demodata\nVersion: {version}\nRequires-Python: {requires}\n"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = members | {f"{info}/METADATA": meta.encode(), f"{info}/WHEEL": tag.encode()}
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files | {f"{info}/RECORD": record.encode()}).items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return path


def wheel_source(path: Path, member: str, data: bytes, **declared: Any) -> WheelSource:
    """The source of one member of a wheel made by :func:`wheel`."""
    made = source(
        **{
            "kind": "wheel", "package": "demodata", "version": "1.0", "wheel_sha256": file_digest(path),
            "member": member, "sha256": sha256_hex(data), "format": "csv",
        }
        | declared
    )  # fmt: skip
    assert isinstance(made, WheelSource)
    return made
