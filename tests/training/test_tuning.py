from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.learner import CatBoostLearner, FloatRange, Learner, LogisticLearner, ScorecardLearner, Tuning
from countermark.errors import TrainingError
from countermark.training.tuning import grid_value, tune
from tests.training.builders import TREES, make_spec, make_table, quiet

TREE = CatBoostLearner(kind="catboost")
SPACE = {
    "depth": {"kind": "int", "low": 2, "high": 8, "step": 2},
    "learning_rate": {"kind": "float", "low": 0.01, "high": 0.3, "log": True},
    "border_count": {"kind": "choice", "values": (32, 64, 128)},
}


def tuning(trials: int = 20, metric: str = "auc", **space: object) -> Tuning:
    wanted = {name: SPACE[name] for name in ("depth", "learning_rate", "border_count")} | space
    return Tuning.model_validate({"trials": trials, "seed": 4, "metric": metric, "space": wanted})


def hill(learner: Learner) -> tuple[float, ...]:
    """Best at depth 6 and learning rate 0.1."""
    assert isinstance(learner, CatBoostLearner)
    height = 0.8 - 0.01 * abs(learner.depth - 6) - 0.05 * abs(math.log10(learner.learning_rate) + 1)
    return height, height + 0.01


def test_the_search_finds_the_hill_and_records_every_trial() -> None:
    lines: list[str] = []
    result = tune(tuning(30), TREE, hill, lines.append)
    assert result.learner.depth == 6
    assert len(result.trials) == len(lines) == 30
    assert lines[0].startswith("trial 1 of 30: auc 0.")
    values = [trial["value"] for trial in result.trials]
    assert result.trials[result.best]["value"] == max(values)
    assert result.best == values.index(max(values))
    assert [trial["best_so_far"] for trial in result.trials] == [max(values[: k + 1]) for k in range(30)]
    for trial in result.trials:
        assert trial["params"]["depth"] in (2, 4, 6, 8)
        assert float(f"{trial['params']['learning_rate']:.2e}") == trial["params"]["learning_rate"]
        assert trial["value"] == float(f"{sum(trial['folds']) / 2:.5e}")


def test_losses_are_minimised() -> None:
    result = tune(tuning(25, "log_loss"), TREE, lambda learner: tuple(1 - v for v in hill(learner)), quiet)
    assert result.direction == "minimize"
    assert result.trials[result.best]["value"] == min(trial["value"] for trial in result.trials)


def test_last_bits_of_the_objective_do_not_steer_the_search() -> None:
    noisy = iter(range(1, 1000))

    def nudged(learner: Learner) -> tuple[float, ...]:
        return tuple(value * (1 + 1e-14 * next(noisy)) for value in hill(learner))

    assert tune(tuning(), TREE, hill, quiet).trials == tune(tuning(), TREE, nudged, quiet).trials


def test_more_trials_than_settings_evaluates_each_setting_once() -> None:
    calls: list[Learner] = []

    def counted(learner: Learner) -> tuple[float, ...]:
        calls.append(learner)
        return hill(learner)

    small = Tuning.model_validate({"trials": 12, "seed": 1, "space": {"depth": {"kind": "choice", "values": (4, 6)}}})
    result = tune(small, TREE, counted, quiet)
    assert len(result.trials) == 12
    assert len(calls) == 2


def test_unordered_choices_are_a_set() -> None:
    space = {"depth": {"kind": "choice", "values": (6, 2, 4)}}
    result = tune(Tuning.model_validate({"trials": 8, "seed": 1, "space": space}), TREE, hill, quiet)
    assert result.learner.depth == 6


def test_optuna_says_nothing_and_its_logger_is_left_as_found(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("optuna")
    before = logger.level
    tune(tuning(3), TREE, hill, quiet)
    assert logger.level == before
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@given(st.floats(1e-6, 1.0), st.floats(1.0, 1e6), st.booleans(), st.integers(0, 1000))
def test_grid_values_stay_inside_the_range_and_ascend(low: float, high: float, log: bool, position: int) -> None:
    spread = FloatRange(kind="float", low=low, high=high, log=log)
    value = grid_value(spread, position)
    assert low <= value <= high
    assert grid_value(spread, 0) == pytest.approx(low, rel=1e-2)
    assert grid_value(spread, 1000) == pytest.approx(high, rel=1e-2)
    assert value <= grid_value(spread, min(position + 1, 1000))


BAD_SPACES = {
    "a misspelt setting": (
        {"learnin_rate": {"kind": "float", "low": 0.1, "high": 0.2}},
        "did you mean 'learning_rate'",
    ),
    "a fixed setting": ({"threads": {"kind": "int", "low": 1, "high": 4}}, "set 'learner.threads'"),
    "the learner itself": ({"kind": {"kind": "choice", "values": ("logistic",)}}, "set 'learner.kind'"),
    "a class weight that is none": (
        {"class_weights": {"kind": "choice", "values": ("none", "half")}},
        "narrow 'tuning.space.class_weights'",
    ),
    "class weights as a range": (
        {"class_weights": {"kind": "float", "low": 1, "high": 9}},
        "narrow 'tuning.space.class_weights'",
    ),
    "nothing like it": ({"zzz": {"kind": "int", "low": 1, "high": 4}}, "params.yaml"),
    "ends swapped": ({"depth": {"kind": "int", "low": 8, "high": 4}}, "ends"),
    "zero on a log scale": ({"l2_leaf_reg": {"kind": "float", "low": 0, "high": 4, "log": True}}, "ends"),
    "beyond the learner": ({"depth": {"kind": "int", "low": 4, "high": 40}}, "narrow 'tuning.space.depth'"),
    "text for a number": ({"depth": {"kind": "choice", "values": ("deep",)}}, "narrow 'tuning.space.depth'"),
}


@pytest.mark.parametrize("case", BAD_SPACES)
def test_bad_spaces_are_refused(case: str) -> None:
    space, hint = BAD_SPACES[case]
    with pytest.raises(TrainingError, match=r"tuning\.space") as caught:
        tune(Tuning.model_validate({"trials": 2, "seed": 1, "space": space}), TREE, hill, quiet)
    assert hint in (caught.value.hint or "")


def test_class_weights_are_searched() -> None:
    def balanced_is_best(learner: Learner) -> tuple[float, ...]:
        assert isinstance(learner, CatBoostLearner)
        return (0.8 if learner.class_weights == "balanced" else 0.7,)

    space = {"class_weights": {"kind": "choice", "values": ("none", "balanced")}}
    result = tune(Tuning.model_validate({"trials": 6, "seed": 1, "space": space}), TREE, balanced_is_best, quiet)
    assert isinstance(result.learner, CatBoostLearner)
    assert result.learner.class_weights == "balanced"
    assert {trial["params"]["class_weights"] for trial in result.trials} == {"none", "balanced"}


def test_a_scorecard_has_no_class_weights() -> None:
    space = {"class_weights": {"kind": "choice", "values": ("none",)}}
    wrong = Tuning.model_validate({"trials": 2, "seed": 1, "space": space})
    with pytest.raises(TrainingError, match="learner 'scorecard' does not have"):
        tune(wrong, ScorecardLearner(kind="scorecard"), hill, quiet)


def test_a_setting_of_another_learner_is_refused() -> None:
    wrong = Tuning.model_validate({"trials": 2, "seed": 1, "space": {"depth": SPACE["depth"]}})
    with pytest.raises(TrainingError, match="learner 'logistic' does not have"):
        tune(wrong, LogisticLearner(kind="logistic"), hill, quiet)


def test_folds_keep_entities_whole_and_trials_repeat() -> None:
    from countermark.training.train import train

    base = make_table(900)
    entity = base.key.copy()
    entity[base.sample == "development"] = [f"c{i // 3}" for i in range(int((base.sample == "development").sum()))]
    table = make_table(900, entity=entity)
    declared = {"trials": 3, "seed": 1, "folds": 3, "space": {"depth": {"kind": "int", "low": 2, "high": 5}}}
    spec = make_spec(TREES | {"iterations": 10}, tuning=declared)
    first, second = train(spec, table, quiet), train(spec, table, quiet)
    assert first.report == second.report
    assert first.report["best_trial"] in (0, 1, 2)
    chosen = first.report["trials"][first.report["best_trial"]]["params"]["depth"]
    assert first.report["params"]["depth"] == chosen
    # Without entities the folds, and so the values, are others.
    assert train(spec, base, quiet).report["trials"] != first.report["trials"]
