"""Whether a committed build was made from the files as they stand: what DVC recorded it read, hashed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from countermark.errors import RegistryError
from countermark.registry.git import Git

Stages = Mapping[str, Mapping[str, Any]]
_INGESTED = "data/sources/"
_FOLDER = ".dir"


def locked_stages(root: Path, file: str, git: Git) -> Stages | None:
    """Stages of a lock file of HEAD; None where HEAD has no such file.

    Raises:
        RegistryError: If the lock file is damaged.
    """
    done = git.try_("show", f"HEAD:{git.line('rev-parse', '--show-prefix')}{file}")
    if done.code != 0:
        return None
    try:
        stages = yaml.load(done.out, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
        # Read through once: what is not of DVC's shape is found here.
        [(one["path"], stage.get("cmd")) for stage in stages.values() for one in _both(stage)]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise RegistryError("the lock file is damaged", file=root / file) from None
    return dict(stages)


def require_same_inputs(root: Path, model: str, stages: Stages, git: Git) -> None:
    """Refuse a build whose inputs have changed since: rows, words or parameters that it was not made from.

    Files are hashed as DVC hashes them, for the model's own stages and for those that took its sources in.

    Args:
        root: The bank's folder.
        model: Name of the model.
        stages: Stages of the model's lock file.
        git: The bank's repository.

    Raises:
        RegistryError: Naming the first files that are not what the build read.
    """
    found = sorted(set(_changed(root, stages, git)))
    if found:
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise RegistryError(
            f"'{model}' was not built from the files as they are now",
            expected="what the committed dvc.lock says that the build read",
            got=", ".join(found[:4]) + more,
            hint=f"countermark build {model}, then git add -A && git commit; 'dvc status' tells more",
            file=root,
        )


def _changed(root: Path, stages: Stages, git: Git) -> Iterator[str]:
    made = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs") or ()}
    read = [dep for stage in stages.values() for dep in stage.get("deps") or () if dep["path"] not in made]
    for path, digest in sorted({(str(dep["path"]), dep.get("md5")) for dep in read}, key=str):
        if digest is None or "://" in path:
            # Not a file that DVC hashed.
            continue
        if path.startswith(_INGESTED):
            yield from _changed_source(root, path, str(digest), git)
        now = _digest(root, root / path)
        if now is None and not path.startswith(_INGESTED):
            yield f"{path} (gone)"
        elif now not in (None, digest):
            yield f"{path} (changed)"


def _changed_source(root: Path, path: str, digest: str, git: Git) -> Iterator[str]:
    """What differs behind a source that was taken in: its own lock, and the files it was read from."""
    name = path.removeprefix(_INGESTED).split("/")[0]
    stages = locked_stages(root, f"sources/{name}/dvc.lock", git)
    if stages is None:
        yield f"sources/{name}/dvc.lock (not committed)"
        return
    taken = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs") or ()}
    if taken.get(path) != digest:
        yield f"{path} (taken in again since)"
    yield from _changed(root, stages, git)


def _both(stage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(stage.get("deps") or ()), *(stage.get("outs") or ())]


def _digest(root: Path, path: Path) -> str | None:
    """The digest that DVC gives a file or folder; None where there is none."""
    if path.is_file():
        return _md5(path)
    if not path.is_dir():
        return None
    files = [file for file in path.rglob("*") if file.is_file() and not _ignored(root, file.relative_to(path))]
    listed = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in sorted(files, key=lambda file: file.relative_to(path).parts)
    ]
    text = json.dumps(listed, sort_keys=True)
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest() + _FOLDER


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _ignored(root: Path, path: Path) -> bool:
    """Whether the bank's .dvcignore keeps DVC from seeing a file of a folder."""
    file = root / ".dvcignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    patterns = [line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith("#")]
    return any(fnmatch(part, pattern) for part in path.parts for pattern in patterns)
