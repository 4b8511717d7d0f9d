"""The stages of a model: what each reads, writes and means. One table; dvc.yaml is generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countermark.config.source import CsvSource, ParquetSource, Source, SqlSource
from countermark.config.spec import ModelSpec
from countermark.errors import ConfigError

OUT = "models/{model}/out"
REPORT = "reports/{model}"

_SCORE_KEYS = ("kind", "features", "outcome", "learner", "tuning", "calibration", "grades", "policy.seed")
_EVIDENCE_ROOMS = ("contracts", "features", "metrics", "scoring", "training", "validation")
_EVIDENCE_LIBRARIES = (
    "catboost", "duckdb", "numba", "numpy", "optbinning", "optuna", "ortools", "pandas", "pandera", "pyarrow",
    "scikit-learn", "scipy", "statsmodels",
)  # fmt: skip
"""Everything that made the numbers, from the contract on: the evidence prints it, and a pack's digests bind it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One DVC stage of a model.

    Attributes:
        name: Stage name, also the word of ``countermark stage``.
        deps: Files read, with ``{model}`` and ``{source}``; relative to the bank's root.
        outs: Files written.
        params: Keys of the resolved spec that the stage may read; changing another key leaves it fresh.
        rooms: Rooms whose semantics version the stage depends on.
        libraries: Numeric or typographic libraries whose version the stage depends on.
        effect: What a change of it means to a validator: ``scores``, ``evidence`` or ``document``.
    """

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]
    rooms: tuple[str, ...]
    libraries: tuple[str, ...]
    effect: str


ORDERED = (
    "source", "contract", "table_contracts", "feature_views", "features", "learner", "tuning", "challenger", "fairness",
    "decision", "policy",
)  # fmt: skip
"""Keys of the spec that hold mappings whose keys people choose, and whose order results may depend on."""

EVIDENCED_KINDS = ("pd", "fraud", "aml", "propensity")
"""Kinds whose outcome is an event: the evidence of this version judges events."""

CHECKED = OUT + "/spec.checked"

STAGES: tuple[Stage, ...] = (
    Stage("spec", (), (CHECKED,), (), (), (), "document"),
    Stage(
        "contract",
        (CHECKED, "data/sources/{source}"),
        (OUT + "/accepted", OUT + "/quarantine.parquet", OUT + "/contract.json"),
        ("source", "contract", "table_contracts"),
        ("contracts",),
        ("numpy", "pandas", "pandera", "pyarrow"),
        "scores",
    ),
    Stage(
        "dataset",
        (CHECKED, OUT + "/accepted", OUT + "/contract.json"),
        (OUT + "/dataset.parquet", OUT + "/protected.parquet", OUT + "/dataset.json"),
        ("name", "kind", "source", "data", "outcome", "features", "feature_views", "split", "fairness", "contract"),
        ("contracts", "features", "training"),
        ("duckdb", "numpy", "pandas", "pyarrow"),
        "scores",
    ),
    Stage(
        "train",
        (CHECKED, OUT + "/dataset.parquet"),
        (OUT + "/scorer.json", OUT + "/training.json"),
        _SCORE_KEYS,
        ("training", "scoring", "metrics"),
        ("catboost", "numba", "numpy", "optbinning", "optuna", "ortools", "pandas", "scikit-learn", "scipy"),
        "scores",
    ),
    Stage(
        "challenge",
        (CHECKED, OUT + "/dataset.parquet"),
        (OUT + "/challenger.json", OUT + "/challenger_training.json"),
        (*_SCORE_KEYS, "challenger"),
        ("training", "scoring", "metrics"),
        ("catboost", "numba", "numpy", "optbinning", "ortools", "pandas", "scikit-learn", "scipy"),
        "evidence",
    ),
    Stage(
        "score",
        (CHECKED, OUT + "/dataset.parquet", OUT + "/scorer.json", OUT + "/challenger.json"),
        (OUT + "/scores.parquet",),
        (),
        ("scoring",),
        ("numba", "numpy", "pyarrow"),
        "scores",
    ),
    Stage(
        "evidence",
        (
            CHECKED,
            OUT + "/contract.json",
            OUT + "/dataset.json",
            OUT + "/dataset.parquet",
            OUT + "/protected.parquet",
            OUT + "/training.json",
            OUT + "/scorer.json",
            OUT + "/challenger.json",
            OUT + "/scores.parquet",
        ),
        (OUT + "/evidence.json",),
        (
            "name",
            "kind",
            "as_of",
            "purpose",
            "source",
            "contract",
            "table_contracts",
            "feature_views",
            "data",
            "outcome",
            "features",
            "split",
            "learner",
            "tuning",
            "calibration",
            "grades",
            "challenger",
            "fairness",
            "decision",
            "policy",
        ),
        _EVIDENCE_ROOMS,
        _EVIDENCE_LIBRARIES,
        "evidence",
    ),
    Stage(
        "pack",
        (
            CHECKED,
            OUT + "/evidence.json",
            OUT + "/scorer.json",
            "data/sources/{source}",
            "conf/model/{model}.md",
        ),
        (REPORT + "/pack.json",),
        ("*",),
        _EVIDENCE_ROOMS,
        _EVIDENCE_LIBRARIES,
        "document",
    ),
    Stage(
        "render",
        (REPORT + "/pack.json",),
        (REPORT + "/validation_pack.pdf",),
        (),
        ("charts", "report"),
        ("fonttools", "jinja2", "markdown-it-py", "pydyf", "weasyprint"),
        "document",
    ),
)


def refuse_kind(kind: str, *, file: str | None = None) -> None:
    """Refuse a kind of model that no evidence can be computed for.

    Raises:
        ConfigError: For loss and exposure models, whose outcome is an amount.
    """
    if kind not in EVIDENCED_KINDS:
        raise ConfigError(
            f"a model of kind '{kind}' cannot be built by this version",
            expected="one of: " + ", ".join(EVIDENCED_KINDS),
            got=f"'{kind}'",
            hint="its outcome is an amount, and the evidence for amounts is not part of this version",
            file=file,
        )


def stage_named(name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)


def ordered_keys(stage: Stage) -> tuple[str, ...]:
    """Keys of the spec whose inner order the stage may depend on: DVC compares mappings without their order."""
    return tuple(key for key in stage.params if key in ORDERED)


def fill(template: str, spec: ModelSpec) -> str:
    """A path of the table for one model."""
    return template.format(model=spec.name, source=spec.source.name)


def model_stages(spec: ModelSpec) -> tuple[Stage, ...]:
    """The stages that this model has: no challenger declared, no challenger stage."""
    return tuple(s for s in STAGES if s.name != "challenge" or spec.challenger is not None)


def source_files(source: Source) -> tuple[str, ...]:
    """Files in the bank that a source reads (absolute paths are outside DVC and need a declared hash)."""
    match source:
        case CsvSource() | ParquetSource():
            path = source.path
        case SqlSource():
            return (source.snapshot, f"{source.snapshot}.query.json")
        case _:
            return ()
    return () if path.startswith("/") else (path,)


def is_outside(source: Source) -> bool:
    """Whether the source reads a file outside the bank, which DVC cannot watch."""
    return isinstance(source, CsvSource | ParquetSource) and source.path.startswith("/")


def model_dvc(
    spec: ModelSpec, conf_files: tuple[str, ...], *, has_narrative: bool, baseline: str | None
) -> dict[str, Any]:
    """The content of models/NAME/dvc.yaml.

    Args:
        spec: The resolved spec.
        conf_files: Files that composed it; the first stage depends on them.
        has_narrative: Whether conf/model/NAME.md exists.
        baseline: Folder of the model's published baselines, or None before its first publication.
    """
    stages: dict[str, Any] = {}
    for stage in model_stages(spec):
        deps = [fill(dep, spec) for dep in stage.deps]
        if stage.name == "spec":
            deps = [*sorted(conf_files), f"models/{spec.name}/params.yaml"]
        if spec.challenger is None:
            deps = [dep for dep in deps if not dep.endswith("challenger.json")]
        if stage.name in ("evidence", "pack") and baseline is not None:
            deps.append(baseline)
        if not has_narrative:
            deps = [dep for dep in deps if not dep.endswith(".md")]
        params = [f"spec.{key}" for key in stage.params] + [f"order.{key}" for key in ordered_keys(stage)]
        if stage.params == ("*",):
            params = ["spec", "order"]
        params += [f"semantics.{room}" for room in stage.rooms]
        params += [f"libraries.{library}" for library in stage.libraries]
        if stage.name == "render":
            params.append("bank.paper")
        stages[stage.name] = {
            "cmd": f"countermark stage {stage.name} {spec.name}",
            "wdir": "../..",
            "deps": deps,
            "outs": [fill(out, spec) for out in stage.outs],
        }
        if params:
            stages[stage.name]["params"] = [{f"models/{spec.name}/params.yaml": params}]
    return {"stages": stages}


def source_dvc(source: Source) -> dict[str, Any]:
    """The content of sources/NAME/dvc.yaml."""
    return {
        "stages": {
            "ingest": {
                "cmd": f"countermark stage ingest {source.name}",
                "wdir": "../..",
                "deps": list(source_files(source)),
                "params": [
                    {
                        f"sources/{source.name}/params.yaml": [
                            "source",
                            "order",
                            "semantics.contracts",
                            "libraries.pandas",
                            "libraries.pyarrow",
                        ]
                    }
                ],
                "outs": [f"data/sources/{source.name}"],
                # A file outside the bank is read and its declared digest checked at every build.
                **({"always_changed": True} if is_outside(source) else {}),
            }
        }
    }


def portfolio_dvc(models: tuple[str, ...]) -> dict[str, Any]:
    """The content of the root dvc.yaml: one stage that needs every model's pack."""
    return {
        "stages": {
            "portfolio": {
                "cmd": "countermark stage portfolio",
                "deps": [f"reports/{name}/{file}" for name in models for file in ("pack.json", "validation_pack.pdf")],
                "params": ["bank", "semantics.charts", "semantics.report", "libraries.weasyprint"],
                "outs": ["reports/portfolio/portfolio.json", "reports/portfolio/portfolio.pdf"],
            }
        }
    }
