"""Compile conf/ into the files that DVC reads, and tell whether they are still equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from countermark.config.bank import Bank
from countermark.config.load import Loaded, load_bank, model_names
from countermark.config.operations import check_plans
from countermark.config.semantics import SEMANTICS, library_versions
from countermark.config.source import Source, SqlSource
from countermark.config.spec import ModelSpec
from countermark.config.wording import scores_part, without_words, wordless
from countermark.errors import ConfigError, SourceError, StaleError
from countermark.portfolio.checked import load_checked, refuse_stray_files
from countermark.portfolio.dag import (
    GROUPS,
    ORDERED,
    is_outside,
    model_dvc,
    model_stages,
    portfolio_dvc,
    source_dvc,
    source_files,
)
from countermark.portfolio.readable import refuse_unreadable
from countermark.records.digest import digest_of

HEADER = "# Written by 'countermark compile' from conf/. Edit conf/, not this file.\n"
_SOURCE_LIBRARIES = ("pandas", "pyarrow")


@dataclass(frozen=True, slots=True)
class Compiled:
    """The bank as compiled.

    Attributes:
        models: Loaded models by name.
        files: Text of every generated file, by path relative to the root.
    """

    bank: Bank
    models: Mapping[str, Loaded]
    files: Mapping[str, str]


def compile_bank(root: Path) -> Compiled:
    """Compose and validate every model and write nothing.

    Raises:
        ConfigError: At the first mistake of any model.
        GuardError: At the first input that a guard refuses by its declaration alone.
    """
    bank = load_bank(root)
    refuse_stray_files(root)
    names = model_names(root)
    check_plans(root, names)
    models = {name: load_checked(root, name) for name in names}
    files: dict[str, str] = {}
    sources: dict[str, tuple[Source, str]] = {}
    for name, loaded in models.items():
        spec = loaded.spec
        _check_one_source(root, sources, spec)
        files[f"models/{name}/params.yaml"] = _dump(model_params(spec, bank))
        files[f"models/{name}/dvc.yaml"] = _dump(model_dvc_file(root, loaded))
    for source_name, (source, _) in sorted(sources.items()):
        resolved = source.model_dump(mode="json")
        files[f"sources/{source_name}/params.yaml"] = _dump(
            {
                "source": resolved,
                "scores": without_words({"source": resolved})["source"],
                "order": _order_digest(resolved),
                "semantics": {"contracts": SEMANTICS["contracts"]},
                "libraries": library_versions(_SOURCE_LIBRARIES),
            }
        )
        files[f"sources/{source_name}/dvc.yaml"] = _dump(source_dvc(source))
    files["params.yaml"] = _dump(
        {
            "bank": bank.model_dump(mode="json"),
            "semantics": {room: SEMANTICS[room] for room in ("charts", "report")},
            "libraries": library_versions(("weasyprint",)),
        }
    )
    files["dvc.yaml"] = _dump(portfolio_dvc(names))
    return Compiled(bank, models, files)


def model_dvc_file(root: Path, loaded: Loaded) -> dict[str, Any]:
    """The stages of a loaded model."""
    narrative = root / "conf" / "model" / f"{loaded.spec.name}.md"
    conf_files = tuple(dict.fromkeys((*loaded.composed.files, "conf/bank.yaml")))
    baseline = f"governance/baselines/{loaded.spec.name}"
    return model_dvc(
        loaded.spec,
        conf_files,
        has_narrative=narrative.is_file(),
        baseline=baseline if (root / baseline).is_dir() else None,
    )


def model_params(spec: ModelSpec, bank: Bank) -> dict[str, Any]:
    """The content of models/NAME/params.yaml: the resolved spec and what its stages depend on.

    ``scores`` is the part of the spec that can change scores, without the words of people: what stages up to the scores
    depend on, and what the results digest of a pack binds.
    """
    stages = model_stages(spec)
    rooms = sorted({room for stage in stages for room in stage.rooms})
    libraries = {library for stage in stages for library in stage.libraries}
    resolved = spec.model_dump(mode="json")
    return {
        "spec": resolved,
        "scores": scores_part(resolved),
        GROUPS: without_words({"fairness": resolved["fairness"]})["fairness"],
        "order": {key: _order_digest(resolved[key]) for key in ORDERED},
        "bank": {"paper": bank.paper},
        "semantics": {room: SEMANTICS[room] for room in rooms},
        "libraries": library_versions(libraries),
    }


def _order_digest(value: Any) -> str:
    return digest_of(_order(value))[:12]


def _order(value: Any) -> Any:
    """Keys of every mapping in their order, as lists: what a comparison of mappings does not see."""
    match value:
        case dict():
            return [[key, _order(inner)] for key, inner in value.items()]
        case list():
            return [_order(inner) for inner in value]
        case _:
            return None


def write(root: Path, compiled: Compiled) -> tuple[str, ...]:
    """Write the generated files that differ, and remove those of models and sources that are gone.

    Returns:
        The paths that were written or removed, relative to the root.
    """
    changed: list[str] = []
    for relative, text in compiled.files.items():
        path = root / relative
        if not path.is_file() or path.read_bytes() != text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
            changed.append(relative)
    for relative in _orphans(root, compiled):
        (root / relative).unlink()
        changed.append(relative)
    if _heal_merged_lock(root):
        changed.append("dvc.lock")
    return tuple(changed)


def check(root: Path, compiled: Compiled) -> None:
    """Refuse generated files that differ from what conf/ composes to.

    Raises:
        StaleError: Naming every file that differs.
    """
    stale = [
        relative
        for relative, text in compiled.files.items()
        if not (root / relative).is_file() or (root / relative).read_bytes() != text.encode()
    ]
    stale += _orphans(root, compiled)
    if stale:
        raise StaleError(
            "generated files differ from conf/",
            expected="files as 'countermark compile' writes them",
            got=", ".join(stale),
            hint="run 'countermark compile' and commit the result",
        )


def check_model(root: Path, name: str) -> Loaded:
    """Recompose one model and refuse generated files that differ.

    Raises:
        StaleError: params.yaml or dvc.yaml of the model is not what conf/ composes to.
    """
    loaded = load_checked(root, name)
    expected = {
        f"models/{name}/params.yaml": _dump(model_params(loaded.spec, load_bank(root))),
        f"models/{name}/dvc.yaml": _dump(model_dvc_file(root, loaded)),
    }
    for relative, text in expected.items():
        path = root / relative
        if not path.is_file() or path.read_bytes() != text.encode():
            raise StaleError(
                f"'{relative}' differs from what conf/ composes to",
                expected="the file as 'countermark compile' writes it",
                hint="run countermark compile",
                file=relative,
            )
    return loaded


def read_spec(root: Path, name: str, *, words: bool = True) -> tuple[ModelSpec, dict[str, Any]]:
    """The compiled spec of a model and the whole of its params.yaml.

    Args:
        root: The bank's root.
        name: The model.
        words: Whether the texts of people are there, or a dash for each.

    Raises:
        StaleError: The model is not compiled, or its file was edited or merged by hand.
    """
    path = root / "models" / name / "params.yaml"
    if not path.is_file():
        raise StaleError(f"model '{name}' is not compiled", hint="run countermark compile", file=str(path))
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec = ModelSpec.model_validate(params["spec"])
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise StaleError(
            f"'models/{name}/params.yaml' is not what 'countermark compile' wrote",
            expected="the file as it was compiled",
            got=str(error).splitlines()[0],
            hint="run countermark compile",
            file=f"models/{name}/params.yaml",
        ) from error
    return spec if words else wordless(spec), params


def check_files(root: Path, compiled: Compiled, names: Sequence[str]) -> None:
    """Refuse to start a build whose data files are not there, or that this user may not run.

    Raises:
        SourceError: Naming the file and the key that declares it.
        BuildError: Naming a file or folder of the bank that this user may not read or write.
    """
    used = [compiled.models[name].spec.source for name in names]
    refuse_unreadable(
        root,
        (
            *(f"{folder}/{name}" for name in names for folder in ("models", "reports")),
            *(f"{folder}/{source.name}" for source in used for folder in ("sources", "data/sources")),
            ".dvc/tmp",
        ),
        (
            *(file for source in used for file in source_files(source)),
            ".dvc/config",
            ".dvc/cache",
            "dvc.yaml",
            "dvc.lock",
            ".",
        ),
    )
    for name in names:
        source = compiled.models[name].spec.source
        for file in source_files(source):
            if not (root / file).is_file():
                frozen = isinstance(source, SqlSource)
                raise SourceError(
                    f"the data of source '{source.name}' is not there",
                    expected=f"'{file}'",
                    hint=f"run 'countermark freeze {source.name}'"
                    if frozen
                    else f"correct 'path' in conf/source/{source.name}.yaml, or put the file there",
                    file=file,
                )


def source_of(compiled: Compiled, name: str) -> Source:
    """The source of that name.

    Raises:
        ConfigError: No model uses such a source.
    """
    sources = {loaded.spec.source.name: loaded.spec.source for loaded in compiled.models.values()}
    if name not in sources:
        raise ConfigError(
            f"no model uses a source '{name}'", expected="one of: " + ", ".join(sorted(sources)), got=f"'{name}'"
        )
    return sources[name]


def _check_one_source(root: Path, sources: dict[str, tuple[Source, str]], spec: ModelSpec) -> None:
    known = sources.setdefault(spec.source.name, (spec.source, spec.name))
    if known[0] != spec.source:
        raise ConfigError(
            f"source '{spec.source.name}' means two things",
            expected=f"the source as model '{known[1]}' composes it",
            got=f"another one in model '{spec.name}'",
            hint="give one of them its own name; a model must not change keys of a shared source",
        )
    if is_outside(spec.source) and spec.source.sha256 is None:
        raise ConfigError(
            f"source '{spec.source.name}' reads a file outside the bank that nothing pins",
            expected="'sha256' of the file beside an absolute 'path'",
            got="no 'sha256'",
            hint="add it, or move the file into the bank",
            file=f"conf/source/{spec.source.name}.yaml",
        )
    for file in source_files(spec.source):
        if (root / file).is_dir():
            raise ConfigError(
                f"'path' of source '{spec.source.name}' is a folder",
                expected="a file",
                got=f"'{file}'",
                file=f"conf/source/{spec.source.name}.yaml",
            )
        if ".." in Path(file).parts:
            raise ConfigError(
                f"source '{spec.source.name}' points outside the bank",
                expected="a path inside the bank, or an absolute path with its 'sha256'",
                got=f"'{file}'",
            )


def _orphans(root: Path, compiled: Compiled) -> list[str]:
    found: list[str] = []
    for folder in ("models", "sources"):
        for path in sorted((root / folder).glob("*/*")):
            relative = path.relative_to(root).as_posix()
            keeper = f"{path.parent.relative_to(root).as_posix()}/dvc.yaml"
            if path.name in ("dvc.yaml", "params.yaml", "dvc.lock") and keeper not in compiled.files:
                found.append(relative)
    return found


def _heal_merged_lock(root: Path) -> bool:
    """Drop a root dvc.lock that a line-wise merge of two branches has made unreadable.

    It records one cheap stage, ``portfolio``, which the next build makes and records again.
    """
    path = root / "dvc.lock"
    if not path.is_file():
        return False
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueLoader)
        entry = document["stages"]["portfolio"]
        healthy = all("path" in item for item in (*entry["deps"], *entry["outs"]))
    except (yaml.YAMLError, KeyError, TypeError):
        healthy = False
    if not healthy:
        path.unlink()
    return not healthy


class _UniqueLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys."""


def _construct_unique(loader: _UniqueLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if len(keys) != len(set(keys)):
        raise yaml.constructor.ConstructorError(None, None, "duplicate key", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_unique)


class _Dumper(yaml.SafeDumper):
    """Dumper without aliases, so that a spec reads top to bottom."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _dump(document: Mapping[str, Any]) -> str:
    text = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return HEADER + text
