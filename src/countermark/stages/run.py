"""Run one stage by name, and keep its wall-clock time in a log outside the build."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from countermark.config.semantics import SEMANTICS, library_versions
from countermark.errors import BuildError, ConfigError
from countermark.portfolio.dag import STAGES
from countermark.portfolio.plan import RUN_LOG
from countermark.stages.files import open_model

Progress = Callable[[str], None]

_RUNNERS = {
    "ingest": "countermark.stages.data:run_ingest",
    "spec": "countermark.stages.data:run_spec",
    "contract": "countermark.stages.data:run_contract",
    "dataset": "countermark.stages.data:run_dataset",
    "train": "countermark.stages.model:run_train",
    "challenge": "countermark.stages.model:run_challenge",
    "score": "countermark.stages.model:run_score",
    "profile": "countermark.stages.profile:run_profile",
    "evidence": "countermark.stages.evidence:run_evidence",
    "pack": "countermark.stages.evidence:run_pack",
    "render": "countermark.stages.document:run_render",
    "portfolio": "countermark.stages.document:run_portfolio",
}


def run_stage(root: Path, name: str, model: str | None, progress: Progress) -> None:
    """Run one stage.

    Args:
        root: The bank's root.
        name: Stage name.
        model: Model name; source name for ``ingest``; None for ``portfolio``.
        progress: Called with a line for people.

    Raises:
        ConfigError: Unknown stage.
        CountermarkError: Whatever the stage raises.
    """
    if name not in _RUNNERS:
        raise ConfigError(f"there is no stage '{name}'", expected="one of: " + ", ".join(_RUNNERS), got=f"'{name}'")
    if (model is None) != (name == "portfolio"):
        raise ConfigError(
            f"stage '{name}' is run for {'the whole bank' if model else 'one model or source'}",
            expected=f"countermark stage {name}{'' if model else ' NAME'}",
            got="no name" if model is None else f"'{model}'",
        )
    if name not in ("ingest", "spec", "portfolio") and model is not None:
        check_environment(root, name, model)
    module, _, function = _RUNNERS[name].partition(":")
    runner = getattr(importlib.import_module(module), function)
    start = time.monotonic()
    runner(root, model or "portfolio", progress)
    _log(root, name, model or "portfolio", time.monotonic() - start)


def check_environment(root: Path, stage: str, model: str) -> None:
    """Refuse to run a stage with other libraries or semantics than its params.yaml was compiled with.

    Raises:
        BuildError: Naming what differs.
    """
    params = open_model(root, model).params
    declared = next(s for s in STAGES if s.name == stage)
    found = library_versions(declared.libraries)
    differs = [
        f"{name} {params['libraries'].get(name)} -> {version}"
        for name, version in found.items()
        if params["libraries"].get(name) != version
    ]
    differs += [
        f"semantics of '{room}' {params['semantics'].get(room)} -> {SEMANTICS[room]}"
        for room in declared.rooms
        if params["semantics"].get(room) != SEMANTICS[room]
    ]
    if differs:
        raise BuildError(
            f"stage '{stage}' would not run as it was compiled",
            expected="the versions in params.yaml",
            got=", ".join(differs),
            hint="install requirements.lock, or run 'countermark compile' to build with these versions",
            file=root / "models" / model / "params.yaml",
        )


def _log(root: Path, stage: str, model: str, seconds: float) -> None:
    path = root / RUN_LOG
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"model": model, "stage": stage, "seconds": round(seconds, 2)}) + "\n")
