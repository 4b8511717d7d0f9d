"""Conversion of CatBoost models: bit-equal scores, equal contributions, refusals by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from countermark.errors import ScorerError
from countermark.scoring.format import Encoding, InputPart, ScorerDocument
from countermark.scoring.from_catboost import trees_from_catboost
from countermark.scoring.frozen import FrozenScorer

NAMES = ("a", "b", "c d", "e")
LEVELS = ("red", "green", "blue", "rare")
MISSING = "__missing__"
INPUTS = (
    *(InputPart(name=name, type="numeric") for name in NAMES),
    InputPart(name="colour", type="categorical", levels=LEVELS, unseen="accept"),
    InputPart(name="town", type="categorical", levels=("x", "y"), unseen="accept"),
)
TOWN = Encoding(input=5, values=(0.123456789, -0.7, 0.05, 0.0))


def _frame(n: int, seed: int, *, new: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) * (3.0 if new else 1.0)
    x = np.where(rng.random((n, 4)) < 0.12, np.nan, x)
    frame = pd.DataFrame(x, columns=list(NAMES))
    levels = [*LEVELS[:3], MISSING, *(["never seen"] if new else [])]
    frame["colour"] = rng.choice(levels, n)
    frame["town"] = rng.choice(TOWN.values, n)
    return frame


def _columns(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {name: frame[name].to_numpy(dtype=np.float64) for name in NAMES}
    found["colour"] = np.array([None if v == MISSING else v for v in frame["colour"]], dtype=object)
    back = dict(zip(TOWN.values, ("x", "y", None, "elsewhere"), strict=True))
    found["town"] = np.array([back[v] for v in frame["town"]], dtype=object)
    return found


def _fit(kind: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    frame = _frame(3000, 1)
    signal = np.nan_to_num(frame["a"]) * 1.2 + (frame["colour"] == "red") - (frame["colour"] == MISSING) + frame["town"]
    y = (np.random.default_rng(2).random(3000) < 1 / (1 + np.exp(-signal))).astype(int)
    pool = catboost.Pool(frame, y, cat_features=["colour"])
    settings = {"iterations": 60, "depth": 6, "one_hot_max_size": 10, "thread_count": 1} | options
    model = kind(verbose=0, allow_writing_files=False, random_seed=3, **settings)
    model.fit(pool)
    path = folder / "model.json"
    model.save_model(str(path), format="json", pool=pool)
    return model, json.loads(path.read_text(encoding="utf-8"))


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "missing low": (catboost.CatBoostClassifier, {"nan_mode": "Min"}),
    "missing high": (catboost.CatBoostClassifier, {"nan_mode": "Max"}),
    "weighted": (catboost.CatBoostClassifier, {"auto_class_weights": "Balanced", "depth": 3}),
    "regression": (catboost.CatBoostRegressor, {"depth": 8}),
    "monotone": (catboost.CatBoostClassifier, {"monotone_constraints": [1, 0, 0, 0, 0, 0]}),
}


@pytest.fixture(scope="module", params=list(CASES))
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any], str]:
    kind, options = CASES[request.param]
    return *_fit(kind, tmp_path_factory.mktemp("model"), **options), request.param


def _freeze(export: dict[str, Any]) -> FrozenScorer:
    model = trees_from_catboost(export, INPUTS, encodings=(TOWN,), missing_text=MISSING)
    return FrozenScorer(ScorerDocument(inputs=INPUTS, model=model))


def test_scores_are_bit_equal_and_contributions_equal(fitted: tuple[Any, dict[str, Any], str]) -> None:
    model, export, name = fitted
    frozen = FrozenScorer.from_bytes(_freeze(export).to_bytes())
    for frame in (_frame(3000, 1), _frame(2000, 5), _frame(2000, 6, new=True)):
        pool, table = catboost.Pool(frame, cat_features=["colour"]), _columns(frame)
        margins = frozen.margin(table)
        raw = model.predict(pool, prediction_type="RawFormulaVal")
        assert margins.tobytes() == np.asarray(raw).tobytes(), name
        phi, base = frozen.contributions(table)
        assert np.abs(phi.sum(axis=1) + base - margins).max() < 1e-9
        # Monotone constraints give empty leaves a value; CatBoost then weighs the leaves by the rows it explains,
        # which are the training rows only on the training frame.
        if name == "monotone" and len(frame) != 3000:
            continue
        shap = model.get_feature_importance(pool, type="ShapValues", thread_count=1)
        assert np.abs(phi - shap[:, :-1]).max() < 1e-9
        assert abs(base - shap[0, -1]) < 1e-9


def test_values_on_a_border_fall_on_the_same_side(fitted: tuple[Any, dict[str, Any], str]) -> None:
    model, export, _ = fitted
    borders = np.array(export["features_info"]["float_features"][0]["borders"])
    near = np.concatenate([borders, np.nextafter(borders, 9), np.nextafter(borders, -9)])
    frame = _frame(near.size, 8)
    frame["a"] = near
    raw = model.predict(catboost.Pool(frame, cat_features=["colour"]), prediction_type="RawFormulaVal")
    assert _freeze(export).margin(_columns(frame)).tobytes() == np.asarray(raw).tobytes()


def test_another_scale_and_bias_are_kept(tmp_path: Path) -> None:
    model, _ = _fit(catboost.CatBoostClassifier, tmp_path)
    model.set_scale_and_bias(0.37, -1.1)
    frame = _frame(3000, 1)
    pool = catboost.Pool(frame, cat_features=["colour"])
    model.save_model(str(tmp_path / "m.json"), format="json", pool=pool)
    frozen = _freeze(json.loads((tmp_path / "m.json").read_text(encoding="utf-8")))
    raw = model.predict(pool, prediction_type="RawFormulaVal")
    assert frozen.margin(_columns(frame)).tobytes() == np.asarray(raw).tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grow_policy": "Lossguide"}, "shape of its trees"),
        ({"grow_policy": "Depthwise"}, "shape of its trees"),
        ({"one_hot_max_size": 2}, "CTR features"),
    ],
)
def test_real_models_that_cannot_be_frozen_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    _, export = _fit(catboost.CatBoostClassifier, tmp_path, iterations=10, **options)
    with pytest.raises(ScorerError, match=message):
        _freeze(export)


def _float(export: dict[str, Any]) -> dict[str, Any]:
    return dict(next(s for t in export["oblivious_trees"] for s in t["splits"] if s["split_type"] == "FloatFeature"))


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no trees": (lambda e: e.pop("oblivious_trees"), "no trees"),
    "an empty model": (lambda e: e.update(oblivious_trees=[]), "it is empty"),
    "text features": (lambda e: e["features_info"].update(text_features=[{}]), "1 under 'text_features'"),
    "embeddings": (lambda e: e["features_info"].update(embedding_features=[{}]), "embeddings"),
    "two outputs": (lambda e: e.update(scale_and_bias=[1, [0, 0]]), "several outputs"),
    "three classes": (lambda e: e["model_info"].update(class_params={"class_names": [0, 1, 2]}), "several outputs"),
    "target statistics": (lambda e: e.update(ctr_data={"x": 1}), "CTR features"),
    "a CTR split": (lambda e: e["oblivious_trees"][0]["splits"][0].update(split_type="OnlineCtr"), "CTR features"),
    "an unknown split": (lambda e: e["oblivious_trees"][0]["splits"][0].update(split_type="New"), "its splits"),
    "too few leaves": (lambda e: e["oblivious_trees"][0]["leaf_values"].pop(), "its leaves"),
    "a lost hash": (lambda e: e["features_info"].update(cat_features_hash=[]), "unknown text"),
    "one hash of two levels": (
        lambda e: [h.update(hash=1) for h in e["features_info"]["cat_features_hash"]],
        "one hash",
    ),
    "too deep": (
        lambda e: e["oblivious_trees"][0].update(splits=[_float(e)] * 11),
        "too deep",
    ),
    "a feature that is no input": (
        lambda e: e["features_info"]["float_features"][0].update(feature_name="z", feature_id="z"),
        "feature 'z' that is no input",
    ),
    "a number for a category": (
        lambda e: e["features_info"]["float_features"][0].update(feature_name="colour"),
        "'colour' is categorical",
    ),
    "a category for a number": (
        lambda e: e["features_info"]["categorical_features"][0].update(feature_name="a"),
        "'a' is numeric",
    ),
    "a category for an encoding": (
        lambda e: e["features_info"]["categorical_features"][0].update(feature_name="town"),
        "'town' is encoded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_exports_that_cannot_be_frozen_are_refused(case: str, fitted: tuple[Any, dict[str, Any], str]) -> None:
    change, message = REFUSED[case]
    export = copy.deepcopy(fitted[1])
    change(export)
    with pytest.raises(ScorerError) as caught:
        _freeze(export)
    assert message in str(caught.value)


def test_a_level_that_stands_for_missing_is_refused(fitted: tuple[Any, dict[str, Any], str]) -> None:
    with pytest.raises(ScorerError, match="also stands for missing"):
        trees_from_catboost(fitted[1], INPUTS, encodings=(TOWN,), missing_text="red")
