"""From CatBoost's JSON export to the trees of the scorer file.

Only what the frozen kernel reproduces bit for bit is converted; anything else is refused by name. The export must be
written with the training pool (``model.save_model(path, format="json", pool=pool)``): without it CatBoost leaves out
the texts behind its one-hot hashes. This module reads the parsed export and never imports CatBoost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from countermark.errors import ScorerError
from countermark.scoring.format import MAX_DEPTH, Encoding, InputPart, Split, Tree, TreesModel

_UNSIGNED = 1 << 32


def trees_from_catboost(
    export: Mapping[str, Any],
    inputs: Sequence[InputPart],
    *,
    encodings: Sequence[Encoding] = (),
    missing_text: str | None = None,
) -> TreesModel:
    """Convert a fitted CatBoost model.

    Args:
        export: The parsed JSON export. Its feature names must be the input names.
        inputs: The original inputs. A categorical input is one of CatBoost's categorical features, or is encoded.
        encodings: Categorical inputs that CatBoost saw as numbers: one value per code.
        missing_text: The text that stood for a missing category in training.

    Returns:
        The trees, bit-equal to CatBoost's raw prediction.

    Raises:
        ScorerError: If the model is not made of symmetric trees with numeric and one-hot splits and one output, or if
            its features do not match the inputs.
    """
    _refuse_unsupported(export)
    names = {part.name: k for k, part in enumerate(inputs)}
    info = export["features_info"]
    numeric = [_input_of(feature, names) for feature in info.get("float_features") or []]
    categorical = [_input_of(feature, names) for feature in info.get("categorical_features") or []]
    _check_types(inputs, numeric, categorical, {encoding.input for encoding in encodings})
    hashes = _hash_texts(info)
    codes = [_codes_by_hash(inputs[k], hashes, missing_text) for k in categorical]
    trees = []
    for number, raw in enumerate(export["oblivious_trees"]):
        splits = tuple(_split(split, numeric, categorical, codes) for split in raw.get("splits") or [])
        if len(splits) > MAX_DEPTH:
            raise ScorerError(
                f"tree {number} is too deep to freeze", expected=f"at most {MAX_DEPTH} splits", got=f"{len(splits)}"
            )
        leaves = tuple(float(value) for value in raw["leaf_values"])
        weights = tuple(float(value) for value in raw.get("leaf_weights") or ())
        if len(leaves) != 1 << len(splits) or len(weights) != len(leaves):
            raise _unsupported(
                "its leaves", f"{1 << len(splits)} leaf values and weights in tree {number}", f"{len(leaves)}"
            )
        trees.append(Tree(splits=splits, leaves=leaves, weights=weights))
    scale, bias = export["scale_and_bias"]
    passes = [k for k, feature in zip(numeric, info.get("float_features") or [], strict=True) if _passes(feature)]
    return TreesModel(
        trees=tuple(trees),
        scale=float(scale),
        bias=float(bias[0]),
        missing_passes=tuple(sorted(k for k in passes if inputs[k].type == "numeric")),
        encodings=tuple(encodings),
    )


def _unsupported(what: str, expected: str, got: str) -> ScorerError:
    return ScorerError(
        f"the CatBoost model cannot be frozen: {what}",
        expected=expected,
        got=got,
        hint="train symmetric trees with one-hot categories; encode other categories first",
    )


def _refuse_unsupported(export: Mapping[str, Any]) -> None:
    if "oblivious_trees" not in export:
        shape = "non-symmetric trees" if "trees" in export else "no trees"
        raise _unsupported("shape of its trees", "'grow_policy: SymmetricTree'", shape)
    if not export["oblivious_trees"]:
        raise _unsupported("it is empty", "at least one tree", "0 trees")
    if export.get("ctr_data"):
        raise _unsupported("CTR features", "one-hot categories only", "target statistics ('ctr_data')")
    info = export.get("features_info", {})
    for key, what in (
        ("ctrs", "CTR features"),
        ("text_features", "text"),
        ("embedding_features", "embeddings"),
    ):
        if info.get(key):
            raise _unsupported(what, "numeric and categorical features", f"{len(info[key])} under '{key}'")
    bias = export.get("scale_and_bias", [1, [0]])[1]
    classes = export.get("model_info", {}).get("class_params", {}).get("class_names") or ()
    if len(bias) != 1 or len(classes) > 2:
        outputs = max(len(bias), len(classes))
        raise _unsupported("several outputs", "a binary class or a number", f"{outputs} classes or outputs")


def _input_of(feature: Mapping[str, Any], names: Mapping[str, int]) -> int:
    name = str(feature.get("feature_name") or feature.get("feature_id"))
    if name not in names:
        raise ScorerError(
            f"the CatBoost model has a feature '{name}' that is no input",
            expected="one of: " + ", ".join(sorted(names)),
            hint="name the columns of the training pool after the inputs",
        )
    return names[name]


def _check_types(inputs: Sequence[InputPart], numeric: list[int], categorical: list[int], encoded: set[int]) -> None:
    for k in numeric:
        if inputs[k].type == "categorical" and k not in encoded:
            raise ScorerError(
                f"input '{inputs[k].name}' is categorical, CatBoost saw it as a number", expected="an encoding for it"
            )
    for k in categorical:
        if inputs[k].type != "categorical" or k in encoded:
            found = "encoded" if k in encoded else "numeric"
            raise ScorerError(
                f"input '{inputs[k].name}' is {found}, CatBoost saw it as a category",
                expected="a categorical input without an encoding",
            )


def _hash_texts(info: Mapping[str, Any]) -> dict[int, list[str]]:
    texts: dict[int, list[str]] = {}
    for entry in info.get("cat_features_hash") or []:
        texts.setdefault(int(entry["hash"]) % _UNSIGNED, []).append(str(entry["value"]))
    return texts


def _codes_by_hash(part: InputPart, texts: Mapping[int, list[str]], missing_text: str | None) -> dict[int, int]:
    levels = part.levels or ()
    if missing_text is not None and missing_text in levels:
        raise ScorerError(
            f"input '{part.name}' has a level that also stands for missing",
            expected="a 'missing_text' that is no level",
        )
    code_of = {level: k for k, level in enumerate(levels)}
    if missing_text is not None:
        code_of[missing_text] = len(levels)
    found: dict[int, int] = {}
    for key, values in texts.items():
        mine = [code_of[value] for value in values if value in code_of]
        if len(mine) > 1:
            raise ScorerError(
                f"CatBoost gives two levels of input '{part.name}' one hash", expected="distinct hashes, rename a level"
            )
        if mine:
            found[key] = mine[0]
    return found


def _split(raw: Mapping[str, Any], numeric: list[int], categorical: list[int], codes: list[dict[int, int]]) -> Split:
    kind = raw.get("split_type")
    if kind == "FloatFeature":
        border = float(raw["border"])
        # CatBoost compares float32; its export writes the border as a double that rounds back to it.
        return numeric[int(raw["float_feature_index"])], "gt", float(np.float32(border))
    if kind == "OneHotFeature":
        index = int(raw["cat_feature_index"])
        code = codes[index].get(int(raw["value"]) % _UNSIGNED)
        if code is None:
            raise _unsupported(
                "a one-hot split on an unknown text",
                "an export written with the training pool, and every level among the input's levels",
                "a hash without a level",
            )
        return categorical[index], "is", float(code)
    raise _unsupported(
        "CTR features" if kind == "OnlineCtr" else "its splits", "numeric or one-hot splits", f"'{kind}'"
    )


def _passes(feature: Mapping[str, Any]) -> bool:
    return bool(feature.get("nan_value_treatment") == "AsTrue")
