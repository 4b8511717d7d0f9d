"""Fit one candidate: check, tune, fit, calibrate, grade, freeze."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from countermark.config.fitting import fitting_problems
from countermark.config.learner import CatBoostLearner, Learner, LogisticLearner, ScorecardLearner, Tuning
from countermark.config.spec import ModelSpec
from countermark.errors import TrainingError
from countermark.metrics.discrimination import auc
from countermark.scoring.format import GradePart, ScorerDocument
from countermark.scoring.frozen import FrozenScorer
from countermark.training.boosting import fit_catboost
from countermark.training.calibration import fit_calibration
from countermark.training.fitted import Fitted
from countermark.training.grades import MasterScale, fit_grades
from countermark.training.linear import fit_linear
from countermark.training.newton import FloatArray
from countermark.training.scorecard import fit_scorecard
from countermark.training.splits import SAMPLES, fold_numbers, hash_keys
from countermark.training.table import (
    Input,
    Rows,
    TrainingTable,
    check_columns,
    declared_inputs,
    rounded,
)
from countermark.training.tuning import TuningResult, tune

FORMAT = "countermark/training/1"

Progress = Callable[[str], None]

_LIBRARIES = {
    "catboost": ("catboost", "numpy", "pandas"),
    "logistic": ("numpy", "scipy"),
    "scorecard": ("numpy", "optbinning", "ortools", "scikit-learn", "scipy"),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """A frozen candidate and the record of how it was made.

    Attributes:
        scorer: The frozen scorer: preprocessing, model, calibration, grades.
        report: What becomes ``training.json``: plain JSON values, rounded to 9 significant digits, without a clock.
    """

    scorer: FrozenScorer
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Task:
    """What a learner is fitted for."""

    inputs: tuple[Input, ...]
    seed: int
    continuous: bool


def train(spec: ModelSpec, table: TrainingTable, progress: Progress) -> Trained:
    """Fit the model that a spec declares and freeze it.

    Fits on development, tunes by cross-validation inside development, stops and calibrates on calibration. Hold-out
    and out-of-time rows are scored for the record only.

    Args:
        spec: The resolved spec.
        table: The modelling data set.
        progress: Called with one line per step.

    Raises:
        TrainingError: If the data cannot be fitted as declared; the message says which input, sample or setting.
    """
    return _train(spec, spec.learner, spec.tuning, table, progress)


def train_challenger(spec: ModelSpec, table: TrainingTable, progress: Progress) -> Trained:
    """Fit the simple model that the champion must beat, on the same rows, with the same calibration and grades.

    Args:
        spec: The resolved spec; it must declare a challenger.
        table: The modelling data set.
        progress: Called with one line per step.

    Raises:
        TrainingError: If the spec declares no challenger, or as :func:`train`.
    """
    if spec.challenger is None:
        raise TrainingError(
            "the spec declares no challenger",
            expected="a 'challenger' with a learner",
            got="none",
            hint="declare 'challenger.learner' and 'challenger.why'",
        )
    return _train(spec, spec.challenger.learner, None, table, progress)


def check_learner(spec: ModelSpec, learner: Learner) -> None:
    """Refuse a learner and tuning settings that do not fit the kind of model, before any data is read.

    Raises:
        TrainingError: If the outcome is continuous and the learner, metric or calibration needs two classes, or the
            search space is not the learner's.
    """
    for problem in fitting_problems(spec, learner):
        raise TrainingError(problem.what, expected=problem.expected, got=problem.got, hint=problem.hint)


def _train(
    spec: ModelSpec, learner: Learner, tuning: Tuning | None, table: TrainingTable, progress: Progress
) -> Trained:
    check_learner(spec, learner)
    task = _Task(declared_inputs(spec), spec.seed, spec.is_amount)
    development, calibration = table.rows("development"), table.rows("calibration")
    for label, rows in (("development", development), ("calibration", calibration)):
        _check_outcome(label, rows, task.continuous)
    constant = check_columns(task.inputs, development)
    tuned = _tune(tuning, learner, task, development, progress) if tuning is not None else None
    chosen = learner if tuned is None else tuned.learner
    progress(f"fit {chosen.kind} on {development.n} rows, {len(task.inputs)} inputs")
    fitted = _fit(chosen, task, development, calibration)
    scorer, scale = _freeze(spec, fitted, calibration, task.continuous)
    report = {
        "format": FORMAT,
        "learner": chosen.kind,
        "params": chosen.model_dump(mode="json"),
        "declared_params": learner.model_dump(mode="json"),
        "seed": task.seed,
        "inputs": [item.name for item in task.inputs],
        "used_inputs": list(scorer.input_names),
        "constant_inputs": constant,
        "monotone": {item.name: item.direction for item in task.inputs if item.direction},
        **_tuning_report(tuning, tuned),
        "fit": fitted.report,
        "calibration": scorer.document.calibration.model_dump(mode="json") | {"sample": "calibration"},
        **_grade_report(scale),
        "samples": {label: _sample_report(scorer, table.rows(label), task.continuous) for label in _present(table)},
        "scorer": scorer.digest,
        "libraries": _libraries(chosen, tuned is not None),
    }
    return Trained(scorer, report)


def _fit(learner: Learner, task: _Task, rows: Rows, stop: Rows | None) -> Fitted:
    match learner:
        case CatBoostLearner():
            return fit_catboost(learner, task.inputs, rows, stop=stop, seed=task.seed, continuous=task.continuous)
        case LogisticLearner():
            return fit_linear(learner, task.inputs, rows, continuous=task.continuous)
        case ScorecardLearner():
            return fit_scorecard(learner, task.inputs, rows)


def _tune(tuning: Tuning, learner: Learner, task: _Task, rows: Rows, progress: Progress) -> TuningResult:
    """Cross-validate inside development: whole entities where there are any, and no early stopping.

    The fold that is scored must not also choose the number of trees.
    """
    keys, grouped = hash_keys(rows.key, rows.entity), rows.entity is not None
    fold = fold_numbers(keys, rows.y, tuning.folds, seed=tuning.seed, grouped=grouped)
    parts = [(rows.take(np.flatnonzero(fold != k)), rows.take(np.flatnonzero(fold == k))) for k in range(tuning.folds)]
    for seen, unseen in parts:
        _check_outcome("development, one fold", seen, task.continuous)
        _check_outcome("development, one fold", unseen, task.continuous)

    def score(candidate: Learner) -> tuple[float, ...]:
        return tuple(_metric(tuning, candidate, task, seen, unseen) for seen, unseen in parts)

    return tune(tuning, learner, score, progress)


def _metric(tuning: Tuning, learner: Learner, task: _Task, seen: Rows, unseen: Rows) -> float:
    fitted = _fit(learner, task, seen, None)
    scorer = FrozenScorer(_document(fitted, task.continuous))
    margin = scorer.margin(unseen.columns)
    match tuning.metric:
        case "auc":
            value = auc(unseen.y, margin).value
            return 0.5 if value is None else value
        case "log_loss":
            p = scorer.probability(margin)
            return float(-np.mean(np.where(unseen.y == 1, np.log(p), np.log1p(-p))))
        case "rmse":
            return float(np.sqrt(np.mean((unseen.y - margin) ** 2)))


def _document(fitted: Fitted, continuous: bool) -> ScorerDocument:
    return ScorerDocument(inputs=fitted.inputs, model=fitted.model, link="identity" if continuous else "sigmoid")


def _freeze(spec: ModelSpec, fitted: Fitted, calibration: Rows, continuous: bool) -> tuple[FrozenScorer, MasterScale]:
    bare = _document(fitted, continuous)
    margin = FrozenScorer(bare).margin(calibration.columns)
    if continuous:
        return _graded(bare, fit_grades(spec.grades, margin, calibration.y, amounts=True))
    fit = fit_calibration(spec.calibration.method, margin, calibration.y.astype(np.int8))
    calibrated = bare.model_copy(update={"calibration": fit})
    p = FrozenScorer(calibrated).probability(margin)
    return _graded(calibrated, fit_grades(spec.grades, p, calibration.y))


def _graded(document: ScorerDocument, scale: MasterScale) -> tuple[FrozenScorer, MasterScale]:
    grades = tuple(GradePart(name=row.name, upper=row.upper, pd=row.pd) for row in scale.rows)
    # Validated anew as a whole: model_copy checks nothing.
    whole = ScorerDocument.model_validate(document.model_copy(update={"grades": grades}).model_dump())
    return FrozenScorer(whole), scale


def _check_outcome(label: str, rows: Rows, continuous: bool) -> None:
    if rows.n == 0:
        raise TrainingError(
            f"sample '{label}' is empty",
            expected="rows to fit and calibrate on",
            got="0 rows",
            hint="use more data, or a larger share in 'split'",
        )
    unknown = int(np.count_nonzero(~np.isfinite(rows.y)))
    if unknown:
        raise TrainingError(
            f"the outcome is missing in sample '{label}'",
            expected="an outcome in every row",
            got=f"{unknown} of {rows.n} rows without one",
            hint="declare the outcome column 'required' in the contract, so that such rows are quarantined",
        )
    if continuous:
        return
    other = int(np.count_nonzero((rows.y != 0) & (rows.y != 1)))
    if other:
        raise TrainingError(
            f"the outcome is not 0 or 1 in sample '{label}'",
            expected="0 or 1",
            got=f"{other} of {rows.n} rows with another number",
            hint="check 'outcome.positive' and 'outcome.negative', or 'kind'",
        )
    events = int(np.count_nonzero(rows.y))
    if events in (0, rows.n):
        raise TrainingError(
            f"sample '{label}' has one outcome class only",
            expected="both outcomes",
            got=f"{events} events in {rows.n} rows",
            hint="use more data, or 'split.kind: stratified'",
        )


def _present(table: TrainingTable) -> list[str]:
    return [label for label in SAMPLES if bool((table.sample == label).any())]


def _sample_report(scorer: FrozenScorer, rows: Rows, continuous: bool) -> dict[str, Any]:
    margin = scorer.margin(rows.columns)
    if continuous:
        return {"n": rows.n, "mean": rounded(float(rows.y.mean())), "rmse": rounded(_rmse(rows.y, margin))}
    events = int(np.count_nonzero(rows.y))
    area = auc(rows.y, margin)
    return {
        "n": rows.n,
        "events": events,
        "event_rate": rounded(events / rows.n),
        "mean_p": rounded(float(scorer.probability(margin).mean())),
        "auc": None if area.value is None else rounded(area.value),
    }


def _rmse(y: FloatArray, prediction: FloatArray) -> float:
    return float(np.sqrt(np.mean((y - prediction) ** 2)))


def _tuning_report(tuning: Tuning | None, tuned: TuningResult | None) -> dict[str, Any]:
    if tuning is None or tuned is None:
        return {"tuning": None, "trials": [], "best_trial": None}
    settings = tuning.model_dump(mode="json") | {"direction": tuned.direction, "sampler": "TPE"}
    return {"tuning": settings, "trials": list(tuned.trials), "best_trial": tuned.best}


def _grade_report(scale: MasterScale) -> dict[str, Any]:
    rows = [
        {"name": row.name, "upper": row.upper, "pd": row.pd, "n": row.n, "events": row.events} for row in scale.rows
    ]
    return {"grades": rows, "grades_declared": scale.declared, "grades_merged": list(scale.merged)}


def _libraries(learner: Learner, tuned: bool) -> dict[str, str]:
    names = {*_LIBRARIES[learner.kind], "numba", "scipy"} | ({"optuna"} if tuned else set())
    return {name: version(name) for name in sorted(names)}
