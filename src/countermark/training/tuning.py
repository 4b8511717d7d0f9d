"""The search for a learner's settings: a budget of trials, a seed, one job, and folds inside development only.

The sampler sees whole numbers only (a position on a grid) and an objective rounded to six digits, so that the
last bit of an exponential, which differs between processors, cannot steer the search.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import optuna

from countermark.config.learner import Choice, FloatRange, IntRange, Learner, SearchRange, Tuning
from countermark.config.problems import Problem
from countermark.config.search_space import refused_value, space_problems
from countermark.errors import TrainingError
from countermark.records.digest import round_significant

GRID = 1000
"""Steps between the ends of a float range."""

OBJECTIVE_DIGITS = 6
FLOAT_DIGITS = 3

Progress = Callable[[str], None]
Score = Callable[[Learner], tuple[float, ...]]
"""Learner in, the metric on each fold out."""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What the search tried and chose.

    Attributes:
        learner: The learner with the best trial's settings.
        trials: One mapping per trial, in order: ``number``, ``params``, ``value``, ``folds``, ``best_so_far``.
        best: Number of the best trial; the earlier of equals.
        direction: ``maximize`` or ``minimize``.
    """

    learner: Learner
    trials: tuple[dict[str, Any], ...]
    best: int
    direction: Literal["maximize", "minimize"]


def tune(tuning: Tuning, learner: Learner, score: Score, progress: Progress) -> TuningResult:
    """Search the declared space with Optuna's tree-structured Parzen estimator.

    Args:
        tuning: Budget, seed, metric and space.
        learner: The declared learner; its other settings stay.
        score: Metric per fold for a learner.
        progress: Called with a line after each trial.

    Raises:
        TrainingError: If the space names an unknown setting or a range is not possible.
    """
    check_space(tuning, learner)
    maximise = tuning.metric == "auc"
    direction: Literal["maximize", "minimize"] = "maximize" if maximise else "minimize"
    trials: list[dict[str, Any]] = []
    seen: dict[str, tuple[float, tuple[float, ...]]] = {}

    def objective(trial: optuna.Trial) -> float:
        params = {name: _suggest(trial, name, tuning.space[name]) for name in sorted(tuning.space)}
        candidate = _with(learner, params)
        signature = candidate.model_dump_json()
        if signature not in seen:
            folds = score(candidate)
            seen[signature] = (round_significant(math.fsum(folds) / len(folds), OBJECTIVE_DIGITS), folds)
        value, folds = seen[signature]
        values = [entry["value"] for entry in trials] + [value]
        best = max(values) if maximise else min(values)
        trials.append(
            {
                "number": trial.number,
                "params": params,
                "value": value,
                "folds": [round_significant(fold, OBJECTIVE_DIGITS) for fold in folds],
                "best_so_far": best,
            }
        )
        progress(f"trial {trial.number + 1} of {tuning.trials}: {tuning.metric} {value:.5f}, best {best:.5f}")
        return value

    with _quiet():
        study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=tuning.seed))
        study.optimize(objective, n_trials=tuning.trials, n_jobs=1)
    best_value = trials[-1]["best_so_far"]
    best_trial = next(entry for entry in trials if entry["value"] == best_value)
    return TuningResult(_with(learner, best_trial["params"]), tuple(trials), best_trial["number"], direction)


def check_space(tuning: Tuning, learner: Learner) -> None:
    """Refuse a search space that the learner cannot take.

    Raises:
        TrainingError: For an unknown or fixed setting, an empty range, or ends the learner refuses.
    """
    for problem in space_problems(tuning, learner):
        raise _error(problem)


def _with(learner: Learner, params: dict[str, Any]) -> Learner:
    problem = refused_value(learner, params)
    if problem is not None:
        raise _error(problem)
    return type(learner).model_validate(learner.model_dump() | params)


def _error(problem: Problem) -> TrainingError:
    return TrainingError(problem.what, expected=problem.expected, got=problem.got, hint=problem.hint)


def _suggest(trial: optuna.Trial, name: str, spread: SearchRange) -> int | float | str:
    match spread:
        case IntRange():
            last = (spread.high - spread.low) // spread.step
            return spread.low + spread.step * trial.suggest_int(name, 0, last)
        case FloatRange():
            return grid_value(spread, trial.suggest_int(name, 0, GRID if spread.high > spread.low else 0))
        case Choice():
            return (
                spread.values[trial.suggest_int(name, 0, len(spread.values) - 1)]
                if _ordered(spread)
                else (spread.values[int(trial.suggest_categorical(name, list(range(len(spread.values)))))])
            )


def _ordered(spread: Choice) -> bool:
    """Numbers in ascending order are a scale; anything else is a set."""
    numbers = [value for value in spread.values if not isinstance(value, str)]
    return len(numbers) == len(spread.values) and numbers == sorted(numbers)


def grid_value(spread: FloatRange, position: int) -> float:
    """The float at a grid position, rounded to 3 significant digits and kept inside the range."""
    part = position / GRID
    raw = (
        spread.low * (spread.high / spread.low) ** part
        if spread.log
        else spread.low + (spread.high - spread.low) * part
    )
    return min(max(round_significant(raw, FLOAT_DIGITS), spread.low), spread.high)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna reports to nobody while it searches: the progress callback does."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
