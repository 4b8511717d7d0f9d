"""The stages of a model: what each reads, writes and means. One table; dvc.yaml is generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countermark.config.source import CsvSource, ParquetSource, Source, SqlSource
from countermark.config.spec import ModelSpec
from countermark.config.wording import SCORE_KEYS

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
        words: Whether the stage sees the words of people; without, it depends on the wordless part of its keys.
    """

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]
    rooms: tuple[str, ...]
    libraries: tuple[str, ...]
    effect: str
    words: bool = True


ORDERED = (
    "source", "contract", "table_contracts", "feature_views", "data", "features", "learner", "tuning", "challenger",
    "fairness", "decision", "policy",
)  # fmt: skip
"""Keys of the spec that hold mappings whose keys people choose, and whose order results may depend on."""

GROUPS = "protected"
"""Key of params.yaml with the protected attributes without words: they change evidence and no score."""

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
        words=False,
    ),
    Stage(
        "dataset",
        (CHECKED, OUT + "/accepted", OUT + "/contract.json"),
        (OUT + "/dataset.parquet", OUT + "/protected.parquet", OUT + "/dataset.json"),
        (
            "name",
            "kind",
            "source",
            "data",
            "outcome",
            "features",
            "feature_views",
            "split",
            "fairness",
            "contract",
            "table_contracts",
        ),
        ("contracts", "features", "training"),
        ("duckdb", "numba", "numpy", "pandas", "pyarrow"),
        "scores",
        words=False,
    ),
    Stage(
        "train",
        (CHECKED, OUT + "/dataset.parquet"),
        (OUT + "/scorer.json", OUT + "/training.json"),
        _SCORE_KEYS,
        ("training", "scoring", "metrics"),
        ("catboost", "numba", "numpy", "optbinning", "optuna", "ortools", "pandas", "scikit-learn", "scipy"),
        "scores",
        words=False,
    ),
    Stage(
        "challenge",
        (CHECKED, OUT + "/dataset.parquet"),
        (OUT + "/challenger.json", OUT + "/challenger_training.json"),
        (*_SCORE_KEYS, "challenger"),
        ("training", "scoring", "metrics"),
        ("catboost", "numba", "numpy", "optbinning", "ortools", "pandas", "scikit-learn", "scipy"),
        "evidence",
        words=False,
    ),
    Stage(
        "score",
        (CHECKED, OUT + "/dataset.parquet", OUT + "/scorer.json", OUT + "/challenger.json"),
        (OUT + "/scores.parquet",),
        (),
        ("scoring",),
        ("numba", "numpy", "pyarrow"),
        "scores",
        words=False,
    ),
    Stage(
        "profile",
        (
            CHECKED,
            OUT + "/dataset.parquet",
            OUT + "/protected.parquet",
            OUT + "/scorer.json",
            OUT + "/scores.parquet",
        ),
        (OUT + "/profile.json",),
        ("decision",),
        ("metrics", "monitoring", "scoring"),
        ("numba", "numpy", "pyarrow", "scipy"),
        "evidence",
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


def stage_named(name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)


def ordered_keys(stage: Stage) -> tuple[str, ...]:
    """Keys of the spec whose inner order the stage may depend on: DVC compares mappings without their order."""
    return tuple(key for key in stage.params if key in ORDERED)


def spec_param(stage: Stage, key: str) -> str:
    """Where params.yaml holds what the stage may see of a key of the spec."""
    if stage.words or key == "name":
        return f"spec.{key}"
    if key == "fairness":
        return GROUPS
    if key in SCORE_KEYS or key == "policy.seed":
        return f"scores.{key}"
    raise ValueError(f"stage '{stage.name}' sees no words and asks for '{key}', which has no wordless part")


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
            deps = [*sorted(conf_files), f"conf/model/{spec.name}.md", f"models/{spec.name}/params.yaml"]
        if spec.challenger is None:
            deps = [dep for dep in deps if not dep.endswith("challenger.json")]
        if stage.name in ("evidence", "pack") and baseline is not None:
            deps.append(baseline)
        if not has_narrative:
            deps = [dep for dep in deps if not dep.endswith(".md")]
        params = [spec_param(stage, key) for key in stage.params if key != "*"] + [
            f"order.{key}" for key in ordered_keys(stage)
        ]
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
        if stage.name == "spec" and not has_narrative:
            # DVC cannot wait for a file that is not there: the stage looks for it at every build.
            stages[stage.name]["always_changed"] = True
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
                            "scores",
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
                # Every last output of a model, so that a plain 'dvc repro' rebuilds the whole bank.
                "deps": [
                    *(f"reports/{name}/{file}" for name in models for file in ("pack.json", "validation_pack.pdf")),
                    *(f"{OUT}/profile.json".format(model=name) for name in models),
                ],
                "params": ["bank", "semantics.charts", "semantics.report", "libraries.weasyprint"],
                "outs": ["reports/portfolio/portfolio.json", "reports/portfolio/portfolio.pdf"],
            }
        }
    }
