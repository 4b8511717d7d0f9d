"""A model as everything but its data shows it to be right: composed, validated, and held against the guards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from countermark.config.load import Loaded, load_model, model_names, problem_error
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.spec import ModelSpec
from countermark.config.yamlfile import KeyPath
from countermark.contracts.currency import ISO_4217
from countermark.errors import ConfigError, GuardError
from countermark.features.groups import band_names
from countermark.features.guards import forbidden_inputs
from countermark.features.plans import view_problems


def load_checked(root: Path, name: str) -> Loaded:
    """Compose, validate and check one model, as ``compile`` and the first stage of a build do.

    Raises:
        ConfigError: A mistake in its YAML, with file and line.
        GuardError: An input that a guard refuses by its declaration alone, with file and line.
    """
    loaded = load_model(root, name)
    for problem in (*_currency_problems(loaded.spec), *_band_problems(loaded.spec), *view_problems(loaded.spec)):
        raise problem_error(problem, loaded.composed)
    for forbidden in forbidden_inputs(loaded.spec):
        place = loaded.composed.place(("features", forbidden.feature))
        raise GuardError(
            f"guard '{forbidden.guard}': {forbidden.detail}",
            expected="inputs that are known at decision time and may be used",
            got=f"'{forbidden.feature}' among the features",
            hint=forbidden.hint,
            file=None if place is None else place.file,
            line=None if place is None else place.line,
        )
    return loaded


def refuse_stray_files(root: Path) -> None:
    """Refuse files of conf/ that nothing would read, though their names say that somebody meant them.

    Raises:
        ConfigError: A ``.yml`` file, or a narrative of no model while a model has none.
    """
    conf = root / "conf"
    for path in sorted(conf.rglob("*.yml")):
        raise ConfigError(
            "a file that ends in '.yml' is not read",
            expected=f"'{path.stem}.yaml'",
            got=f"'{path.name}'",
            hint="rename it",
            file=path.relative_to(root).as_posix(),
        )
    known = model_names(root)
    without = [f"{name}.md" for name in known if not (conf / "model" / f"{name}.md").exists()]
    for path in sorted((conf / "model").glob("*.md")):
        if path.stem not in known and without:
            raise ConfigError(
                f"the narrative '{path.name}' is of no model",
                expected=one_of(without),
                got=f"'{path.name}'",
                hint=nearest(path.name, without) or "rename or remove it",
                file=path.relative_to(root).as_posix(),
            )


def _currency_problems(spec: ModelSpec) -> Iterator[Problem]:
    """A currency that does not exist, and units that are another currency than the source's."""
    currency = spec.source.currency
    if currency != "none" and currency not in ISO_4217:
        yield Problem(
            ("source", "currency"),
            f"'{currency}' is no currency",
            expected="an active ISO 4217 code such as 'EUR', or 'none'",
            got=f"'{currency}'",
            hint="correct 'currency' of the source",
        )
        return
    units: dict[KeyPath, str | None] = {
        ("contract", "columns", name, "unit"): column.unit for name, column in spec.contract.columns.items()
    }
    for table, contract in spec.table_contracts.items():
        units |= {
            ("table_contracts", table, "columns", name, "unit"): column.unit
            for name, column in contract.columns.items()
        }
    units |= {("features", name, "unit"): feature.unit for name, feature in spec.features.items()}
    for path, unit in units.items():
        if unit in ISO_4217 and unit != currency:
            yield Problem(
                path,
                f"'{path[-2]}' is in {unit}, and source '{spec.source.name}' in another currency",
                expected=f"{currency}, the currency of the source" if currency != "none" else "no currency",
                got=unit,
                hint="convert before the data reaches the source, or correct 'unit' or 'currency'",
            )


def _band_problems(spec: ModelSpec) -> Iterator[Problem]:
    """A reference group that is none of the declared bands."""
    for name, declared in (spec.fairness.attributes if spec.fairness is not None else {}).items():
        if declared.bands is None:
            continue
        known = [*band_names(declared.bands), declared.undocumented]
        if declared.reference not in known:
            yield Problem(
                ("fairness", "attributes", name, "reference"),
                f"the reference of protected attribute '{name}' is none of its bands",
                expected=one_of(known),
                got=f"'{declared.reference}'",
                hint=nearest(declared.reference, known),
            )
