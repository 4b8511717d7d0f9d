"""The one door to Hydra: compose a model in isolation and know which file and line set each value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from countermark.config.bank import Bank
from countermark.config.consistency import spec_problems
from countermark.config.problems import Problem, nearest
from countermark.config.schema_errors import joined, validate
from countermark.config.spec import ModelSpec
from countermark.config.yamlfile import KeyPath, YamlFile, read_yaml
from countermark.errors import ConfigError

_OPEN_INTERPOLATION = re.compile(r"(?<!\\)\$\{[^}]*$")


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
        roots: First place of the file that composes a key as a whole, by key path.
    """

    name: str
    data: dict[str, Any]
    origins: Mapping[KeyPath, tuple[Origin, ...]]
    files: tuple[str, ...]
    roots: Mapping[KeyPath, Origin]

    def place(self, path: KeyPath) -> Origin | None:
        """The place in force for a key, or for its nearest parent that was written or is a file of its own."""
        for end in range(len(path), 0, -1):
            found = self.origins.get(path[:end])
            if found:
                return found[-1]
            if path[:end] in self.roots:
                return self.roots[path[:end]]
        return None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A validated model and how it was composed."""

    spec: ModelSpec
    composed: Composed


def model_names(root: Path) -> tuple[str, ...]:
    """Names of the models that conf/model declares, sorted.

    Raises:
        PermissionError: The folder may not be read; a bank without models is something else.
    """
    folder = root / "conf" / "model"
    return tuple(sorted(path.stem for path in folder.iterdir() if path.suffix == ".yaml")) if folder.is_dir() else ()


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
    _check_consistency(spec, composed)
    return Loaded(spec, composed)


def _check_consistency(spec: ModelSpec, composed: Composed) -> None:
    """What the parts of a spec get wrong together is told here, not by a stage minutes later."""
    mistakes = [problem_error(problem, composed) for problem in spec_problems(spec)]
    if mistakes:
        raise joined(mistakes, f"model '{spec.name}'")


def problem_error(problem: Problem, composed: Composed) -> ConfigError:
    """The error that tells a problem, with the file and line that set its key."""
    file, line = _composed_place(composed, problem.path)
    return ConfigError(
        problem.what, expected=problem.expected, got=problem.got, hint=problem.hint, file=file, line=line
    )


def compose(root: Path, name: str) -> Composed:
    """Compose conf/model/NAME.yaml with its defaults list, without touching Hydra's global state.

    Raises:
        ConfigError: Unknown model or group option, bad YAML, unresolvable interpolation.
    """
    conf = root / "conf"
    files = _read_tree(conf, name)
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(conf.resolve())))
    try:
        # What Hydra's load_configuration does, once and without its own node of settings, which nobody here reads.
        overrides, repository = loader._parse_overrides_and_create_caching_repo(None, [f"+model={name}"])
        chain = create_defaults_list(
            repo=repository, config_name=None, overrides_list=overrides, prepend_hydra=False, skip_missing=False
        )
        config = loader._compose_config_from_defaults_list(defaults=chain.defaults, repo=repository)
        data = OmegaConf.to_container(config.model, resolve=True, throw_on_missing=True)
    except HydraException as error:
        raise ConfigError(
            f"model '{name}' cannot be composed",
            got=" ".join(str(error).split()),
            file=f"conf/model/{name}.yaml",
        ) from error
    except OmegaConfBaseException as error:
        key = tuple(str(error.full_key or "").split("."))[1:]
        place = _first_place(files, key) if any(key) else _broken_place(files)
        raise ConfigError(
            f"the value of '{'.'.join(key)}' cannot be resolved" if any(key) else "an interpolation cannot be read",
            expected="a value, or '${key}' of a key that exists",
            got=str(error.msg or error).splitlines()[0],
            file=place[0] if place else f"conf/model/{name}.yaml",
            line=place[1] if place else None,
        ) from error
    origins: dict[KeyPath, list[Origin]] = {}
    roots: dict[KeyPath, Origin] = {}
    order: list[str] = []
    for entry in chain.defaults:
        file = files.get(entry.config_path or "")
        if file is None:
            continue
        order.append(file.shown)
        package = tuple((entry.package or "").split("."))[1:]
        roots[package] = Origin(file.shown, min(file.lines.values(), default=1), file.data)
        for path, line in file.lines.items():
            if path[0] != "defaults":
                origins.setdefault((*package, *path), []).append(Origin(file.shown, line, _value(file.data, path)))
    if not isinstance(data, dict):
        raise ConfigError("the model is empty", expected="a mapping", file=f"conf/model/{name}.yaml")
    return Composed(
        name,
        {str(key): value for key, value in data.items()},
        {key: tuple(places) for key, places in origins.items()},
        tuple(order),
        roots,
    )


def _read_tree(conf: Path, name: str) -> dict[str, YamlFile]:
    """Read the model's file and everything its defaults lists name, by config path ('group/option')."""
    files: dict[str, YamlFile] = {}
    known = sorted(path.stem for path in (conf / "model").glob("*.yaml"))
    if name not in known:
        raise ConfigError(
            f"there is no model '{name}'",
            expected="one of: " + (", ".join(known) or "(conf/model has no models yet)"),
            got=f"'{name}'",
            hint=nearest(name, known) or "countermark new model NAME --kind KIND --data FILE",
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
    seen: dict[str, str] = {}
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
                hint=nearest(folder, groups),
                file=file.shown,
                line=line,
            )
        package = str(where).partition("@")[2] or folder
        if package in seen and not str(where).startswith("override "):
            raise ConfigError(
                f"two entries of 'defaults' compose '{package}'",
                expected="one option for each key",
                got=f"'{option}' beside '{seen[package]}'",
                hint=f"remove one, or write 'override {where}: {option}' to replace the option of another file",
                file=file.shown,
                line=line,
            )
        seen[package] = option
        options = sorted(p.stem for p in (conf / folder).glob("*.yaml"))
        if option not in options:
            raise ConfigError(
                f"group '{folder}' has no option '{option}'",
                expected="one of: " + (", ".join(options) or "(the group is empty)"),
                got=f"'{option}'",
                hint=nearest(option, options),
                file=file.shown,
                line=line,
            )
        found.append((folder, option))
    return found


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


def _broken_place(files: Mapping[str, YamlFile]) -> tuple[str, int] | None:
    """The first line with an interpolation that is not closed: OmegaConf does not tell its key."""
    for file in files.values():
        for number, line in enumerate(file.path.read_text(encoding="utf-8").splitlines(), start=1):
            if _OPEN_INTERPOLATION.search(line):
                return file.shown, number
    return None
