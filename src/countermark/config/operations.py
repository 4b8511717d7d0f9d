"""Plans of production: how releases take over (conf/rollout) and what is watched (conf/monitor)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from countermark.config.monitor import MonitorPlan
from countermark.config.problems import nearest, one_of
from countermark.config.rollout import RolloutPlan
from countermark.config.schema_errors import validate
from countermark.config.yamlfile import KeyPath, YamlFile, read_yaml
from countermark.errors import ConfigError

_Plan = TypeVar("_Plan", bound=BaseModel)


def rollout_plan(root: Path, name: str) -> RolloutPlan:
    """Read conf/rollout/NAME.yaml.

    Raises:
        ConfigError: With file and line, if it is missing or not what the schema promises.
    """
    return _read(root, "rollout", name, RolloutPlan)


def monitor_plans(root: Path) -> dict[str, MonitorPlan]:
    """Every conf/monitor/NAME.yaml, by model.

    Raises:
        ConfigError: With file and line, if one is not what the schema promises.
    """
    folder = root / "conf" / "monitor"
    return {file.stem: _read(root, "monitor", file.stem, MonitorPlan) for file in sorted(folder.glob("*.yaml"))}


def check_plans(root: Path, models: Collection[str]) -> None:
    """Refuse a mistake in any plan of production, and a monitoring plan of no model.

    Args:
        root: The bank's root folder.
        models: Names of the bank's models.

    Raises:
        ConfigError: With file and line.
    """
    for file in sorted((root / "conf" / "rollout").glob("*.yaml")):
        rollout_plan(root, file.stem)
    for name in monitor_plans(root):
        if name not in models:
            shown = f"conf/monitor/{name}.yaml"
            place = _place(read_yaml(root / shown, shown), ("name",))
            raise ConfigError(
                f"there is no model '{name}' to monitor",
                expected=one_of(sorted(models)),
                got=f"name: {name}",
                hint=nearest(name, models) or "rename or remove the file",
                file=place[0],
                line=place[1],
            )


def _read(root: Path, group: str, name: str, model: type[_Plan]) -> _Plan:
    shown = f"conf/{group}/{name}.yaml"
    path = root / shown
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise ConfigError(
            f"there is no {group} plan '{name}'",
            expected=one_of(known) if known else shown,
            got=f"'{name}'",
            hint=nearest(name, known),
        )
    file = read_yaml(path, shown)
    plan = validate(model, file.data, lambda key: _place(file, key), what=shown)
    stated = getattr(plan, "name", name)
    if stated != name:
        where = _place(file, ("name",))
        raise ConfigError(
            "the plan's name is not its file's name", expected=name, got=stated, file=where[0], line=where[1]
        )
    return plan


def _place(file: YamlFile, path: KeyPath) -> tuple[str, int | None]:
    while path and path not in file.lines:
        path = path[:-1]
    return file.shown, file.lines.get(path, 1)
