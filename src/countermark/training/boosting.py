"""CatBoost: symmetric trees with numeric and one-hot splits, converted to the scorer's own trees.

Deterministic by construction: rows keep their order, no sampling, plain boosting, threads from the spec, no files
but an export that is read back and removed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoost, CatBoostError, Pool
from numpy.typing import NDArray

from countermark.config.learner import CatBoostLearner
from countermark.errors import TrainingError
from countermark.scoring.format import Encoding, InputPart
from countermark.scoring.from_catboost import trees_from_catboost
from countermark.training.fitted import Fitted
from countermark.training.newton import FloatArray, settle
from countermark.training.splits import fold_numbers
from countermark.training.table import (
    Input,
    Rows,
    categorical_input,
    class_pair,
    level_codes,
    levels_of,
    numeric_input,
    refuse_class_weights,
    rounded,
)
from countermark.training.woe import mean_shift, risk_woe, totals

ENCODING_PRIOR = 20.0
"""Rows at the sample's rate that shrink the weight of a level of a category with many levels."""

ENCODING_DIGITS = 6
LEAF_DIGITS = 8
_ENCODING_FOLDS = 5


def fit_catboost(
    learner: CatBoostLearner,
    inputs: tuple[Input, ...],
    rows: Rows,
    *,
    stop: Rows | None,
    seed: int,
    continuous: bool,
) -> Fitted:
    """Fit on development rows; the number of trees may be chosen on the calibration sample.

    A category with more than ``one_hot_max`` levels is turned into its smoothed weight of evidence (mean shift for a
    continuous outcome). Development rows see the weight fitted on the other folds, so that a rare level cannot tell
    the trees its own outcome; the frozen table is fitted on all of them.

    Args:
        learner: Settings.
        inputs: Declared inputs.
        rows: Development rows.
        stop: Calibration rows for early stopping; used only where the spec asks for it.
        seed: Seed of CatBoost and of the encoding folds.
        continuous: Squared error on the outcome instead of log loss.

    Raises:
        TrainingError: If CatBoost refuses the data or class weights are asked of a continuous outcome.
    """
    refuse_class_weights(learner.class_weights, continuous=continuous)
    parts = tuple(
        numeric_input(i.name) if i.type == "numeric" else categorical_input(i.name, levels_of(rows.columns[i.name]))
        for i in inputs
    )
    encoded = [k for k, part in enumerate(parts) if len(part.levels or ()) > learner.one_hot_max]
    encodings = tuple(_encoding(k, parts[k], rows, continuous) for k in encoded)
    missing_text = _missing_text(parts)
    crossed = {k: _crossed(parts[k], rows, seed, continuous) for k in encoded}
    train = _pool(parts, rows, crossed, missing_text)
    early = learner.early_stopping_rounds is not None and stop is not None
    watch = None
    if early and stop is not None:
        looked_up = {e.input: _look_up(parts[e.input], e, stop.columns[parts[e.input].name]) for e in encodings}
        watch = _pool(parts, stop, looked_up, missing_text)
    model = CatBoost(_settings(learner, inputs, rows, seed, continuous))
    try:
        model.fit(train, eval_set=watch, use_best_model=early, early_stopping_rounds=learner.early_stopping_rounds)
    except CatBoostError as error:
        raise TrainingError(
            "CatBoost refuses to fit",
            expected="data and settings it can take",
            got=str(error).splitlines()[0][-200:],
            hint="check 'learner' and the inputs' types",
        ) from error
    round_leaves(model)
    trees = trees_from_catboost(_export(model, train), parts, encodings=encodings, missing_text=missing_text)
    report = {
        "trees": len(trees.trees),
        "importance": _importance(model, parts, train),
        "encoded": [parts[k].name for k in encoded],
        "curve": _curve(model),
    }
    return Fitted(parts, trees, report)


def _settings(
    learner: CatBoostLearner,
    inputs: tuple[Input, ...],
    rows: Rows,
    seed: int,
    continuous: bool,
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "loss_function": "RMSE" if continuous else "Logloss",
        "boost_from_average": continuous,
        "iterations": learner.iterations,
        "depth": learner.depth,
        "learning_rate": learner.learning_rate,
        "l2_leaf_reg": learner.l2_leaf_reg,
        "border_count": learner.border_count,
        # Missing text counts as a level of its own.
        "one_hot_max_size": learner.one_hot_max + 1,
        "grow_policy": "SymmetricTree",
        "boosting_type": "Plain",
        "bootstrap_type": "No",
        "random_strength": 0,
        "has_time": True,
        "random_seed": seed % 2**31,
        "thread_count": learner.threads,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }
    if any(item.direction for item in inputs):
        settings["monotone_constraints"] = [item.direction for item in inputs]
    if not continuous and learner.class_weights != "none":
        settings["class_weights"] = list(class_pair(rows.y, learner.class_weights))
    return settings


def _pool(parts: tuple[InputPart, ...], rows: Rows, encoded: Mapping[int, FloatArray], missing_text: str) -> Pool:
    frame: dict[str, Any] = {}
    categories = []
    for k, part in enumerate(parts):
        values = rows.columns[part.name]
        if k in encoded:
            frame[part.name] = encoded[k]
        elif part.levels is not None:
            # Codes and a table of texts: pandas hands CatBoost one text per level instead of one per row.
            texts = [*part.levels, missing_text, missing_text + "?"]
            frame[part.name] = pd.Categorical.from_codes(level_codes(values, part.levels), categories=pd.Index(texts))
            categories.append(part.name)
        else:
            frame[part.name] = values.astype(np.float64)
    return Pool(pd.DataFrame(frame), label=rows.y, cat_features=categories)


def _missing_text(parts: tuple[InputPart, ...]) -> str:
    """A text for missing categories that no input has as a level."""
    levels = {level for part in parts for level in part.levels or ()}
    text = "(missing)"
    while text in levels or text + "?" in levels:
        text += "_"
    return text


def _weights(part: InputPart, values: NDArray[Any], y: FloatArray, continuous: bool) -> FloatArray:
    """One value per code: smoothed weight of evidence, or mean shift."""
    total, n = totals(level_codes(values, part.levels or ()), y, part.codes)
    mean = float(y.mean())
    if continuous:
        raw = mean_shift(total, n, mean=mean, prior=ENCODING_PRIOR)
    elif 0.0 < mean < 1.0:
        raw = risk_woe(total, n, rate=mean, prior=ENCODING_PRIOR)
    else:
        raw = np.zeros(part.codes)
    return np.array([settle(float(value), ENCODING_DIGITS) for value in raw])


def _encoding(k: int, part: InputPart, rows: Rows, continuous: bool) -> Encoding:
    return Encoding(input=k, values=tuple(_weights(part, rows.columns[part.name], rows.y, continuous).tolist()))


def _crossed(part: InputPart, rows: Rows, seed: int, continuous: bool) -> FloatArray:
    """The encoding of every development row from the other folds' outcomes."""
    values = rows.columns[part.name]
    folds = min(_ENCODING_FOLDS, rows.n)
    fold = fold_numbers(rows.key, rows.y, folds, seed=seed, grouped=False)
    out = np.empty(rows.n, dtype=np.float64)
    codes = level_codes(values, part.levels or ())
    for number in range(folds):
        here = fold == number
        out[here] = _weights(part, values[~here], rows.y[~here], continuous)[codes[here]]
    return out


def _look_up(part: InputPart, encoding: Encoding, values: NDArray[Any]) -> FloatArray:
    return np.asarray(encoding.values, dtype=np.float64)[level_codes(values, part.levels or ())]


def round_leaves(model: CatBoost) -> None:
    """Round the leaves and the bias inside the CatBoost model, before anything is predicted or frozen.

    CatBoost takes exponentials from the C library, whose last bit differs between processors; a few leaves in a
    thousand follow at a relative 1e-14. The rounded model is the model, in CatBoost and frozen alike.
    """
    leaves = np.asarray(model.get_leaf_values(), dtype=np.float64)
    model.set_leaf_values(np.array([settle(value, LEAF_DIGITS) for value in leaves.tolist()]))
    scale, bias = model.get_scale_and_bias()
    model.set_scale_and_bias(scale, settle(float(np.ravel(bias)[0]), LEAF_DIGITS))


def _export(model: CatBoost, pool: Pool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.json"
        # With the pool: without it the export leaves out the texts behind one-hot hashes.
        model.save_model(str(path), format="json", pool=pool)
        export: dict[str, Any] = json.loads(path.read_bytes())
    return export


def _importance(model: CatBoost, parts: tuple[InputPart, ...], pool: Pool) -> dict[str, float]:
    """CatBoost's prediction-values-change importance in per cent, largest first."""
    values = model.get_feature_importance(pool, type="PredictionValuesChange")
    pairs = sorted(
        zip((part.name for part in parts), values, strict=True), key=lambda pair: (-rounded(pair[1]), pair[0])
    )
    return {name: rounded(float(value)) for name, value in pairs}


def _curve(model: CatBoost) -> dict[str, list[float]]:
    """Loss after each tree, thinned to at most 100 points, by sample."""
    names = {"learn": "development", "validation": "calibration"}
    out = {}
    for sample, series in model.get_evals_result().items():
        losses = next(iter(series.values()))
        step = max(1, -(-len(losses) // 100))
        out[names[sample]] = [rounded(float(loss)) for loss in losses[::step]]
    return out
