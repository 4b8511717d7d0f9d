"""The one door to Hydra: compose a model in isolation and know which file and line set each value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from countermark.config.bank import Bank
from countermark.config.schema_errors import validate
from countermark.config.spec import ModelSpec
from countermark.config.yamlfile import KeyPath, YamlFile, read_yaml
from countermark.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written. The last origin of a key is the one in force."""

    file: str
    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed model before validation.

    Attributes:
        name: Model name.
        data: Resolved plain data.
        origins: For each key path, every place that set it, in the order of composition.
        files: Contributing files, relative to the bank's root, in the order of composition.
    """

    name: str
    data: dict[str, Any]
    origins: Mapping[KeyPath, tuple[Origin, ...]]
    files: tuple[str, ...]

    def place(self, path: KeyPath) -> Origin | None:
        """The place in force for a key, or for its nearest parent that was written."""
        for end in range(len(path), 0, -1):
            found = self.origins.get(path[:end])
            if found:
                return found[-1]
        return None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A validated model and how it was composed."""

    spec: ModelSpec
    composed: Composed


def model_names(root: Path) -> tuple[str, ...]:
    """Names of the models that conf/model declares, sorted."""
    return tuple(sorted(path.stem for path in (root / "conf" / "model").glob("*.yaml")))


def load_bank(root: Path) -> Bank:
    """Read conf/bank.yaml.

    Raises:
        ConfigError: The folder is not a bank, or the file is not what the schema promises.
    """
    file = read_yaml(root / "conf" / "bank.yaml", "conf/bank.yaml")
    return validate(Bank, file.data, lambda path: _file_place(file, path), what="conf/bank.yaml")


def load_model(root: Path, name: str) -> Loaded:
    """Compose and validate one model.

    Args:
        root: The bank's root folder (the one that holds ``conf``).
        name: Model name: ``conf/model/NAME.yaml``.

    Raises:
        ConfigError: With file and line, expected, got and the nearest valid key.
    """
    composed = compose(root, name)
    spec = validate(ModelSpec, composed.data, lambda path: _composed_place(composed, path), what=f"model '{name}'")
    if spec.name != name:
        origin = composed.place(("name",))
        raise ConfigError(
            "the model's name is not its file's name",
            expected=f"name: {name}",
            got=f"name: {spec.name}",
            file=None if origin is None else origin.file,
            line=None if origin is None else origin.line,
        )
    _check_reasons(spec, composed)
    _check_groups(spec, composed)
    return Loaded(spec, composed)


def _check_reasons(spec: ModelSpec, composed: Composed) -> None:
    """A reason that names no input of the model would never be given, silently."""
    for code, reason in spec.decision.reasons.items():
        for feature in reason.features:
            if feature not in spec.features:
                file, line = _composed_place(composed, ("decision", "reasons", code, "features"))
                known = list(spec.features)
                raise ConfigError(
                    f"reason '{code}' names no input of model '{spec.name}'",
                    expected="one of: " + ", ".join(known),
                    got=f"'{feature}'",
                    hint=_nearest(feature, known),
                    file=file,
                    line=line,
                )


def _check_groups(spec: ModelSpec, composed: Composed) -> None:
    """Protected attributes live apart: never a segment; and an intersection crosses declared ones only."""
    if spec.fairness is None:
        return
    protected = {attribute.column: name for name, attribute in spec.fairness.attributes.items()}
    for column in spec.data.segments:
        if column in protected:
            file, line = _composed_place(composed, ("data", "segments"))
            raise ConfigError(
                f"segment '{column}' is the protected attribute '{protected[column]}'",
                expected="segments that are no protected attribute",
                got=f"'{column}'",
                hint="remove it from 'data.segments'; sections F1 to F3 break evidence down by protected group",
                file=file,
                line=line,
            )
    known = list(spec.fairness.attributes)
    for pair in spec.fairness.intersections:
        for name in pair:
            if name not in known:
                file, line = _composed_place(composed, ("fairness", "intersections"))
                raise ConfigError(
                    f"an intersection names no protected attribute: '{name}'",
                    expected="one of: " + ", ".join(known),
                    got=f"'{name}'",
                    hint=_nearest(name, known),
                    file=file,
                    line=line,
                )


def compose(root: Path, name: str) -> Composed:
    """Compose conf/model/NAME.yaml with its defaults list, without touching Hydra's global state.

    Raises:
        ConfigError: Unknown model or group option, bad YAML, unresolvable interpolation.
    """
    conf = root / "conf"
    files = _read_tree(conf, name)
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(conf.resolve())))
    overrides = [f"+model={name}"]
    try:
        chain = loader.compute_defaults_list(config_name=None, overrides=overrides, run_mode=RunMode.RUN)
        config = loader.load_configuration(config_name=None, overrides=overrides, run_mode=RunMode.RUN)
        data = OmegaConf.to_container(config.model, resolve=True, throw_on_missing=True)
    except HydraException as error:
        raise ConfigError(
            f"model '{name}' cannot be composed",
            got=" ".join(str(error).split()),
            file=f"conf/model/{name}.yaml",
        ) from error
    except OmegaConfBaseException as error:
        key = tuple(str(error.full_key or "").split("."))[1:]
        place = _first_place(files, key)
        raise ConfigError(
            f"the value of '{'.'.join(key)}' cannot be resolved",
            expected="a value, or '${key}' of a key that exists",
            got=str(error.msg or error).splitlines()[0],
            file=place[0] if place else f"conf/model/{name}.yaml",
            line=place[1] if place else None,
        ) from error
    origins: dict[KeyPath, list[Origin]] = {}
    order: list[str] = []
    for entry in chain.defaults:
        file = files.get(entry.config_path or "")
        if file is None:
            continue
        order.append(file.shown)
        package = tuple((entry.package or "").split("."))[1:]
        for path, line in file.lines.items():
            if path[0] != "defaults":
                origins.setdefault((*package, *path), []).append(Origin(file.shown, line, _value(file.data, path)))
    if not isinstance(data, dict):
        raise ConfigError("the model is empty", expected="a mapping", file=f"conf/model/{name}.yaml")
    return Composed(name, {str(k): v for k, v in data.items()}, {k: tuple(v) for k, v in origins.items()}, tuple(order))


def _read_tree(conf: Path, name: str) -> dict[str, YamlFile]:
    """Read the model's file and everything its defaults lists name, by config path ('group/option')."""
    files: dict[str, YamlFile] = {}
    known = sorted(path.stem for path in (conf / "model").glob("*.yaml"))
    if name not in known:
        raise ConfigError(
            f"there is no model '{name}'",
            expected="one of: " + (", ".join(known) or "(conf/model has no models yet)"),
            got=f"'{name}'",
            hint=_nearest(name, known) or "countermark new model NAME --kind KIND --data FILE",
        )
    queue = [("model", name)]
    while queue:
        group, option = queue.pop()
        path = f"{group}/{option}"
        if path in files:
            continue
        file = read_yaml(conf / group / f"{option}.yaml", f"conf/{path}.yaml")
        files[path] = file
        queue.extend(_defaults(conf, file, group))
    return files


def _defaults(conf: Path, file: YamlFile, group: str) -> list[tuple[str, str]]:
    entries = file.data.get("defaults", [])
    if not isinstance(entries, list):
        raise ConfigError(
            "'defaults' is not a list",
            expected="- /group@key: option",
            file=file.shown,
            line=file.lines.get(("defaults",)),
        )
    found: list[tuple[str, str]] = []
    for index, entry in enumerate(entries):
        if entry == "_self_":
            continue
        line = file.lines.get(("defaults", str(index)))
        if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())), str):
            raise ConfigError(
                "a defaults entry cannot be read",
                expected="'- /group@key: option' or '- _self_'",
                got=repr(entry),
                file=file.shown,
                line=line,
            )
        (where, option), *_ = entry.items()
        target = str(where).split("@")[0].removeprefix("override ").strip()
        folder = target.removeprefix("/") if target.startswith("/") else f"{group}/{target}"
        groups = sorted(p.name for p in conf.iterdir() if p.is_dir())
        if not (conf / folder).is_dir():
            raise ConfigError(
                f"there is no config group '{folder}'",
                expected="one of: " + ", ".join(groups),
                got=f"'{folder}'",
                hint=_nearest(folder, groups),
                file=file.shown,
                line=line,
            )
        options = sorted(p.stem for p in (conf / folder).glob("*.yaml"))
        if option not in options:
            raise ConfigError(
                f"group '{folder}' has no option '{option}'",
                expected="one of: " + (", ".join(options) or "(the group is empty)"),
                got=f"'{option}'",
                hint=_nearest(option, options),
                file=file.shown,
                line=line,
            )
        found.append((folder, option))
    return found


def _nearest(word: str, known: list[str]) -> str | None:
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{match[0]}'?" if match else None


def _value(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[int(key)] if isinstance(data, list) else _by_text(data, key)
    return data


def _by_text(mapping: Any, key: str) -> Any:
    if key in mapping:
        return mapping[key]
    return next(value for name, value in mapping.items() if str(name) == key or str(name).lower() == key.lower())


def _file_place(file: YamlFile, path: KeyPath) -> tuple[str, int | None]:
    for end in range(len(path), 0, -1):
        if path[:end] in file.lines:
            return file.shown, file.lines[path[:end]]
    return file.shown, None


def _composed_place(composed: Composed, path: KeyPath) -> tuple[str, int | None]:
    origin = composed.place(path)
    if origin is None:
        return f"conf/model/{composed.name}.yaml", 1
    return origin.file, origin.line


def _first_place(files: Mapping[str, YamlFile], key: KeyPath) -> tuple[str, int | None] | None:
    for file in files.values():
        for start in range(len(key)):
            if key[start:] in file.lines:
                return file.shown, file.lines[key[start:]]
    return None
