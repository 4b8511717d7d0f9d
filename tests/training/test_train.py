from __future__ import annotations

import json
import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from countermark.errors import TrainingError
from countermark.scoring.format import IndicatorTerm, LinearModel, MissingTerm, ScorecardModel, StandardisedTerm
from countermark.scoring.frozen import FrozenScorer
from countermark.training import boosting, scorecard
from countermark.training.table import TrainingTable
from countermark.training.train import Trained, check_learner, train, train_challenger
from tests.training.builders import CARD, FEATURES, LINEAR, TREES, columns, make_spec, make_table, quiet

TABLE = make_table()
LEARNERS = {"catboost": TREES, "logistic": LINEAR, "scorecard": CARD}
METHODS = ("none", "platt", "isotonic", "beta")


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, str], Trained]:
    return {
        (name, method): train(make_spec(learner, calibration={"method": method}), TABLE, quiet)
        for name, learner in LEARNERS.items()
        for method in METHODS
    }


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("method", METHODS)
def test_a_candidate_ranks_is_calibrated_and_graded(trained: Any, name: str, method: str) -> None:
    result = trained[name, method]
    scorer = FrozenScorer.from_bytes(result.scorer.to_bytes())
    assert scorer.digest == result.report["scorer"]
    held = TABLE.rows("holdout")
    assert result.report["samples"]["holdout"]["auc"] > 0.68
    calibration = TABLE.rows("calibration")
    p = scorer.probability(scorer.margin(calibration.columns))
    if method != "none":
        assert p.mean() == pytest.approx(calibration.y.mean(), abs=0.003)
    assert ((p > 0) & (p < 1)).all()
    grade = scorer.grade(p)
    for k, row in enumerate(result.report["grades"]):
        assert row["n"] == (grade == k).sum()
        assert row["events"] == calibration.y[grade == k].sum()
        assert row["pd"] == pytest.approx(p[grade == k].mean(), rel=1e-5)
    assert all(low["pd"] < high["pd"] for low, high in pairwise(result.report["grades"]))
    phi, base = scorer.contributions(held.columns)
    np.testing.assert_allclose(base + phi.sum(axis=1), scorer.margin(held.columns), atol=1e-9)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_report_is_plain_rounded_json(trained: Any, name: str) -> None:
    def numbers(value: Any) -> Any:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            for item in value:
                yield from numbers(item)
        elif isinstance(value, float):
            yield value

    report = trained[name, "platt"].report
    assert json.loads(json.dumps(report, allow_nan=False, sort_keys=True)) == report
    for number in numbers({key: part for key, part in report.items() if key != "params"}):
        assert float(f"{number:.8e}") == number
    assert {"learner", "params", "trials", "best_trial", "calibration", "grades", "samples", "libraries"} <= set(report)
    assert report["libraries"]["numpy"] == np.__version__
    assert report["samples"]["development"]["n"] == (TABLE.sample == "development").sum()


@pytest.mark.parametrize("name", LEARNERS)
def test_enforced_directions_hold_on_a_grid(trained: Any, name: str) -> None:
    scorer = trained[name, "platt"].scorer
    rows = TABLE.rows("holdout").take(np.arange(200))
    for feature, direction, grid in (
        ("income", -1, np.exp(np.linspace(7, 13, 60))),
        ("utilisation", 1, np.linspace(-0.2, 1.2, 60)),
    ):
        margins = np.array([scorer.margin(dict(rows.columns) | {feature: np.full(rows.n, value)}) for value in grid])
        assert (direction * np.diff(margins, axis=0) >= 0).all()
        assert np.ptp(margins) > 0


def test_a_feature_without_its_direction_is_not_monotone_by_itself() -> None:
    free = {name: {k: v for k, v in f.items() if k not in ("expected", "monotone")} for name, f in FEATURES.items()}
    scorer = train(make_spec(TREES, free), TABLE, quiet).scorer
    rows = TABLE.rows("holdout").take(np.arange(200))
    grid = np.exp(np.linspace(7, 13, 60))
    margins = np.array([scorer.margin(dict(rows.columns) | {"income": np.full(rows.n, v)}) for v in grid])
    assert (np.diff(margins, axis=0) > 0).any()


@pytest.mark.parametrize("extra", [{}, {"class_weights": "balanced"}, {"early_stopping_rounds": 3}, {"threads": 1}])
def test_frozen_trees_are_bit_equal_to_catboost(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    seen: dict[str, Any] = {}
    export = boosting._export

    def keep(model: Any, pool: Any) -> dict[str, Any]:
        seen["model"] = model
        return export(model, pool)

    monkeypatch.setattr(boosting, "_export", keep)
    result = train(make_spec(TREES | extra), TABLE, quiet)
    rows = TABLE.rows("holdout")
    features = dict(rows.columns)
    features["region"][:5] = "unheard of"
    part = next(p for p in result.scorer.document.inputs if p.name == "branch")
    (encoding,) = result.scorer.document.model.encodings  # type: ignore[union-attr]
    table = dict(zip(part.levels or (), encoding.values, strict=False))
    import pandas as pd

    frame = pd.DataFrame(features)
    frame["branch"] = [table[value] for value in features["branch"]]
    frame["region"] = ["(missing)" if value is None else value for value in features["region"]]
    raw = seen["model"].predict(frame, prediction_type="RawFormulaVal")
    assert (raw == result.scorer.margin(features)).all()


def test_early_stopping_keeps_the_best_number_of_trees() -> None:
    full = TREES | {"iterations": 400, "learning_rate": 0.5}
    stopped = train(make_spec(full | {"early_stopping_rounds": 10}), TABLE, quiet)
    curve = stopped.report["fit"]["curve"]["calibration"]
    assert stopped.report["fit"]["trees"] < 100
    assert stopped.report["fit"]["trees"] == int(np.argmin(curve)) + 1
    assert train(make_spec(full), TABLE, quiet).report["fit"]["trees"] == 400


def test_class_weights_shift_the_margin_and_calibration_takes_it_back() -> None:
    plain = train(make_spec(LINEAR), TABLE, quiet)
    heavy = train(make_spec(LINEAR | {"class_weights": (1.0, 5.0)}), TABLE, quiet)
    rows = TABLE.rows("holdout")
    shift = heavy.scorer.margin(rows.columns) - plain.scorer.margin(rows.columns)
    assert shift.mean() == pytest.approx(math.log(5), abs=0.1)
    mean_p = [r.scorer.probability(r.scorer.margin(rows.columns)).mean() for r in (plain, heavy)]
    assert mean_p[0] == pytest.approx(mean_p[1], abs=0.01)


def test_a_rare_level_of_a_large_category_cannot_tell_its_own_outcome() -> None:
    # A category that is nearly a key: its in-sample weight of evidence would be the outcome itself.
    almost_key = np.array([f"c{i // 2}" for i in range(3000)], dtype=object)
    table = make_table(features={"branch": almost_key})
    importance = train(make_spec(TREES), table, quiet).report["fit"]["importance"]
    assert importance["branch"] < 10


def test_the_frozen_logistic_is_its_rounded_formula(trained: Any) -> None:
    scorer = trained["logistic", "platt"].scorer
    model = scorer.document.model
    assert isinstance(model, LinearModel)
    rows = TABLE.rows("holdout")
    expected = np.full(rows.n, model.intercept)
    for term in model.terms:
        part = scorer.document.inputs[term.input]
        values = rows.columns[part.name]
        assert float(f"{term.coefficient:.5e}") == term.coefficient
        match term:
            case StandardisedTerm():
                filled = np.where(np.isnan(values), term.fill, values)
                expected += term.coefficient * (filled - term.mean) / term.scale
            case MissingTerm():
                expected += term.coefficient * np.isnan(values)
            case IndicatorTerm():
                levels = [*(part.levels or ()), None]
                expected += term.coefficient * np.array([v == levels[term.code] for v in values])
    np.testing.assert_allclose(scorer.margin(rows.columns), expected, atol=1e-12, rtol=0)


def test_the_logistic_fill_is_the_median_and_the_baseline_the_most_frequent_level(trained: Any) -> None:
    model = trained["logistic", "none"].scorer.document.model
    development = TABLE.rows("development")
    fill = next(t.fill for t in model.terms if isinstance(t, StandardisedTerm))
    assert fill == pytest.approx(np.nanmedian(development.columns["income"]), rel=1e-8)
    level, count = np.unique(development.columns["branch"].astype(str), return_counts=True)
    named = {row["level"] for row in trained["logistic", "none"].report["fit"]["coefficients"]}
    assert set(level) - named == {level[int(np.argmax(count))]}


def test_points_double_the_odds_and_add_up(trained: Any) -> None:
    result = trained["scorecard", "platt"]
    scorer = result.scorer
    margin = np.array([-math.log(50.0), -math.log(100.0)])
    points = scorer.points(margin)
    assert points[0] == pytest.approx(600.0, abs=1e-6)
    assert points[1] - points[0] == pytest.approx(20.0, abs=1e-6)
    # The points of a row's bins add up to the points of its margin.
    rows = TABLE.rows("holdout").take(np.arange(40))
    model = scorer.document.model
    assert isinstance(model, ScorecardModel)
    total = np.zeros(rows.n)
    for k, item in enumerate(model.characteristics):
        bins = result.report["fit"]["characteristics"][k]["bins"]
        values = rows.columns[scorer.document.inputs[item.input].name]
        for r, value in enumerate(values):
            if item.kind == "numeric":
                label = "(missing)" if math.isnan(value) else int(np.searchsorted(item.edges, value, side="right"))
                row = next(b for b in bins if b["bin"] == label) if label == "(missing)" else bins[label]
            else:
                wanted = "(missing)" if value is None else value
                row = next(b for b in bins if wanted in b["bin"].split(" | "))
            total[r] += row["points"]
    np.testing.assert_allclose(total, scorer.points(scorer.margin(rows.columns)), atol=1e-4)


def test_scorecard_bins_weigh_the_log_odds_of_their_counts(trained: Any) -> None:
    report = trained["scorecard", "platt"].report["fit"]
    development = TABLE.rows("development")
    rate = development.y.mean()
    for entry in report["characteristics"]:
        assert sum(row["n"] for row in entry["bins"]) == development.n
        assert sum(row["events"] for row in entry["bins"]) == development.y.sum()
        assert entry["coefficient"] > 0
        for row in entry["bins"]:
            odds = (row["events"] + rate) / (row["n"] - row["events"] + 1 - rate)
            assert row["woe"] == pytest.approx(math.log(odds) - math.log(rate / (1 - rate)), abs=1e-5)
    assert "noise" in report["left_out"]["low_information"]


def test_information_below_the_minimum_leaves_at_least_the_strongest() -> None:
    result = train(make_spec(CARD | {"min_iv": 10.0}), TABLE, quiet)
    values = result.report["fit"]["information_value"]
    assert result.report["used_inputs"] == [max(values, key=values.__getitem__)]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_null_model_is_built_and_left_for_validation_to_judge(name: str) -> None:
    y = (np.random.default_rng(8).random(3000) < 0.2).astype(np.int8)
    noise = {"a": {"meaning": "a"}, "b": {"meaning": "b", "expected": "increasing", "monotone": True}}
    rng = np.random.default_rng(9)
    table = TrainingTable({"a": rng.random(3000), "b": rng.random(3000)}, y, TABLE.sample, TABLE.key)
    result = train(make_spec(LEARNERS[name], noise), table, quiet)
    assert abs(result.report["samples"]["holdout"]["auc"] - 0.5) < 0.1


def test_constant_inputs_are_allowed_and_recorded() -> None:
    table = make_table(features={"noise": np.full(3000, 7.0), "region": np.array(["x"] * 3000, dtype=object)})
    for learner in LEARNERS.values():
        result = train(make_spec(learner), table, quiet)
        assert result.report["constant_inputs"] == ["noise", "region"]


def test_odd_names_and_levels_go_through() -> None:
    odd = 'Größe: "a", {b}=\\ \t1'
    features = {"utilisation": FEATURES["utilisation"], odd: {"meaning": "odd"}, "ü|(missing)": FEATURES["region"]}
    rng = np.random.default_rng(3)
    levels = np.array(["", " ", "nan", "(missing)", "é|ß", None], dtype=object)
    data = {
        "utilisation": TABLE.features["utilisation"],
        odd: rng.normal(size=3000),
        "ü|(missing)": levels[rng.integers(0, 6, 3000)],
    }
    table = TrainingTable(data, TABLE.y, TABLE.sample, TABLE.key)
    for learner in LEARNERS.values():
        scorer = train(make_spec(learner | ({"min_iv": 0.0} if learner is CARD else {}), features), table, quiet).scorer
        FrozenScorer.from_bytes(scorer.to_bytes()).margin(data)


def test_numeric_inputs_may_be_missing_or_unseen_where_development_had_none() -> None:
    for learner in LEARNERS.values():
        scorer = train(make_spec(learner), TABLE, quiet).scorer
        rows = {name: values[:3].copy() for name, values in columns(3).items()}
        rows["utilisation"][:] = np.nan
        rows["branch"][:] = None
        rows["region"][:] = "elsewhere"
        assert np.isfinite(scorer.margin(rows)).all()


def test_the_challenger_is_trained_without_tuning() -> None:
    tuning = {"trials": 2, "seed": 1, "folds": 2, "space": {"depth": {"kind": "int", "low": 2, "high": 3}}}
    spec = make_spec(TREES, tuning=tuning, challenger={"learner": CARD, "why": "simple"})
    lines: list[str] = []
    result = train_challenger(spec, TABLE, lines.append)
    assert result.report["learner"] == "scorecard"
    assert result.report["trials"] == []
    assert lines == ["fit scorecard on 1650 rows, 6 inputs"]
    with pytest.raises(TrainingError, match="declares no challenger"):
        train_challenger(make_spec(TREES), TABLE, quiet)


@pytest.mark.parametrize("learner", [TREES, LINEAR])
def test_continuous_outcomes_are_regressed(learner: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    loss = expit(TABLE.features["utilisation"] * 2 - 1 + 0.2 * rng.normal(size=3000))
    table = TrainingTable(TABLE.features, loss, TABLE.sample, TABLE.key)
    tuning = {"trials": 2, "seed": 1, "folds": 2, "metric": "rmse"}
    space = (
        {"c": {"kind": "float", "low": 0.1, "high": 10.0}}
        if learner is LINEAR
        else {"depth": {"kind": "int", "low": 2, "high": 3}}
    )
    spec = make_spec(learner, kind="lgd", calibration={"method": "none"}, tuning=tuning | {"space": space})
    result = train(spec, table, quiet)
    held = table.rows("holdout")
    prediction = result.scorer.probability(result.scorer.margin(held.columns))
    assert np.corrcoef(prediction, held.y)[0, 1] > 0.8
    assert result.report["samples"]["holdout"]["rmse"] < 0.6 * held.y.std()
    assert result.report["trials"][0]["value"] < 0.6 * held.y.std()
    pools = result.scorer.grade(prediction)
    assert set(pools.tolist()) <= set(range(len(result.scorer.grades)))
    means = [held.y[pools == k].mean() for k in sorted(set(pools.tolist()))]
    assert means == sorted(means)
    assert len(result.report["grades"]) == len(result.scorer.grades)


def altered(**changes: Any) -> TrainingTable:
    parts = {"features": TABLE.features, "y": TABLE.y, "sample": TABLE.sample, "key": TABLE.key}
    return TrainingTable(**(parts | changes))


def with_feature(name: str, values: np.ndarray) -> TrainingTable:
    return altered(features=dict(TABLE.features) | {name: values})


N = TABLE.y.size
BAD_TABLES = {
    "no events": (altered(y=np.zeros(N)), "one outcome class only", "more data"),
    "NaN outcome": (altered(y=np.where(np.arange(N) < 9, np.nan, TABLE.y)), "outcome is missing", "contract"),
    "outcome of three values": (altered(y=np.where(np.arange(N) < 9, 2, TABLE.y)), "not 0 or 1", "outcome.positive"),
    "one row": (
        altered(
            features={k: v[:1] for k, v in TABLE.features.items()},
            y=TABLE.y[:1],
            sample=np.array(["development"], dtype=object),
            key=TABLE.key[:1],
        ),
        "is empty|one outcome class",
        "more data",
    ),
    "no calibration": (altered(sample=np.array(["development"] * N, dtype=object)), "'calibration' is empty", "split"),
    "all-null number": (with_feature("noise", np.full(N, np.nan)), "'noise' has no value", "features.noise"),
    "all-null text": (with_feature("region", np.array([None] * N, dtype=object)), "'region' has no value", "source"),
    "infinite": (with_feature("noise", np.full(N, np.inf)), "'noise' has no value|infinite", "features.noise"),
    "some infinite": (
        with_feature("noise", np.where(np.arange(N) < 50, np.inf, 1.0)),
        "'noise' is infinite",
        "contract column a range",
    ),
    "text for a number": (with_feature("noise", np.array(["a"] * N, dtype=object)), "wrong type", "levels"),
    "number for text": (with_feature("region", np.zeros(N)), "wrong type", "features.region"),
    "absent": (altered(features={"noise": np.zeros(N)}), "not in the data set", "rebuild"),
    "all constant": (
        altered(
            features={
                name: np.ones(N) if values.dtype.kind == "f" else np.array(["x"] * N, dtype=object)
                for name, values in TABLE.features.items()
            }
        ),
        "every input is constant",
        "sources",
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_end_in_a_clear_error(case: str) -> None:
    table, what, hint = BAD_TABLES[case]
    with pytest.raises(TrainingError, match=what) as caught:
        train(make_spec(LINEAR), table, quiet)
    assert hint in (caught.value.hint or "")


LGD = {"kind": "lgd", "calibration": {"method": "none"}}
SPACE = {"trials": 1, "seed": 1, "space": {"depth": {"kind": "int", "low": 2, "high": 3}}}
BAD_SPECS = {
    "scorecard for a share": ((CARD, LGD), "scorecard needs an outcome of two classes"),
    "challenger scorecard for a share": (
        (TREES, LGD | {"challenger": {"learner": CARD, "why": "w"}}),
        "scorecard needs an outcome of two classes",
    ),
    "calibration of a share": ((TREES, {"kind": "lgd"}), "calibration 'platt' needs"),
    "AUC of a share": ((TREES, LGD | {"tuning": SPACE}), "metric 'auc' does not fit kind 'lgd'"),
    "RMSE of events": ((TREES, {"tuning": SPACE | {"metric": "rmse"}}), "metric 'rmse' does not fit kind 'pd'"),
    "unknown setting": (
        (TREES, {"tuning": SPACE | {"space": {"dept": {"kind": "int", "low": 2, "high": 3}}}}),
        "names 'dept'",
    ),
}


@pytest.mark.parametrize("case", BAD_SPECS)
def test_bad_specs_are_refused_before_data_is_read(case: str) -> None:
    (learner, changes), what = BAD_SPECS[case]
    spec = make_spec(learner, **changes)
    learners = (spec.learner, *([spec.challenger.learner] if spec.challenger else []))
    with pytest.raises(TrainingError, match=what) as caught:
        list(map(partial(check_learner, spec), learners))
    assert caught.value.hint


@pytest.mark.parametrize("learner", [TREES, LINEAR])
def test_class_weights_of_a_share_are_refused(learner: dict[str, Any]) -> None:
    table = altered(y=np.random.default_rng(1).random(N))
    with pytest.raises(TrainingError, match="class weights need"):
        train(make_spec(learner | {"class_weights": "balanced"}, **LGD), table, quiet)


def test_inputs_against_their_direction_are_left_out_of_the_linear_model() -> None:
    turned = dict(FEATURES) | {"utilisation": {"meaning": "u", "expected": "decreasing", "monotone": True}}
    result = train(make_spec(LINEAR, turned), TABLE, quiet)
    assert result.report["fit"]["reversed"] == ["utilisation"]
    assert "utilisation" not in result.report["used_inputs"]
    only = {"utilisation": turned["utilisation"]}
    with pytest.raises(TrainingError, match="no input is left"):
        train(make_spec(LINEAR, only), TABLE, quiet)


def test_training_writes_no_file_and_changes_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = {name: values.copy() for name, values in TABLE.features.items()}
    for learner in LEARNERS.values():
        train(make_spec(learner), TABLE, quiet)
    assert list(tmp_path.iterdir()) == []
    for name, values in TABLE.features.items():
        assert np.array_equal(values, before[name], equal_nan=values.dtype.kind == "f")


@pytest.mark.parametrize("learner", [CARD | {"min_iv": 0.0}, TREES])
def test_an_enforced_direction_holds_against_the_data(learner: dict[str, Any]) -> None:
    turned = {
        "income": FEATURES["income"],
        "utilisation": {"meaning": "u", "expected": "decreasing", "monotone": True},
    }
    scorer = train(make_spec(learner, turned), TABLE, quiet).scorer
    grid = np.linspace(-0.2, 1.2, 200)
    margins = scorer.margin({"income": np.full(200, 2e4), "utilisation": grid})
    assert (np.diff(margins) <= 0).all()


def test_what_catboost_refuses_is_reported() -> None:
    with pytest.raises(TrainingError, match="CatBoost refuses to fit") as caught:
        train(make_spec(TREES | {"class_weights": (-1.0, 1.0)}), TABLE, quiet)
    assert "weight" in (caught.value.got or "").lower()


def test_a_scorecard_without_bins_is_refused() -> None:
    # Two values, one of them in 2 % of rows: no split leaves 5 % on both sides.
    rare = (np.arange(N) % 50 == 0).astype(np.float64)
    table = TrainingTable({"a": rare}, TABLE.y, TABLE.sample, TABLE.key)
    with pytest.raises(TrainingError, match="no input can be binned"):
        train(make_spec(CARD, {"a": {"meaning": "a"}}), table, quiet)


def test_bins_without_a_proof_of_optimality_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unproved(scorecard._optimal_binning()):  # type: ignore[misc]
        status = "FEASIBLE"

    monkeypatch.setattr(scorecard, "_optimal_binning", lambda: Unproved)
    with pytest.raises(TrainingError, match="no bins satisfy the scorecard's rules for input 'income'"):
        train(make_spec(CARD), TABLE, quiet)
