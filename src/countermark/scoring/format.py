"""The scorer file: one canonical, versioned JSON document (``countermark/scorer/1``).

``docs/reference/scorer_format.md`` describes every field. These models are the format: what they accept, opens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from countermark.errors import ScorerError

FORMAT = "countermark/scorer/1"
MAX_DEPTH = 10


class Part(BaseModel):
    """Closed, frozen part of a scorer file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputPart(Part):
    """One original input.

    A categorical value becomes a code: its position in ``levels``; ``len(levels)`` if it is missing and
    ``len(levels) + 1`` if it is unseen.
    """

    name: str = Field(min_length=1)
    type: Literal["numeric", "categorical"]
    levels: tuple[str, ...] | None = None
    missing: Literal["accept", "refuse"] = "accept"
    unseen: Literal["accept", "missing", "refuse"] | None = Field(
        default=None,
        description="Categorical only: a level the file does not list has its own code, or counts as missing.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> InputPart:
        if self.type == "numeric":
            if self.levels is not None or self.unseen is not None:
                raise ValueError("a numeric input has no 'levels' and no 'unseen'")
            return self
        if not self.levels or self.unseen is None:
            raise ValueError("a categorical input needs 'levels' and 'unseen'")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError("'levels' has duplicates")
        if self.unseen == "missing" and self.missing == "refuse":
            raise ValueError("'unseen: missing' needs 'missing: accept'")
        return self

    @property
    def codes(self) -> int:
        """Number of codes: levels, missing, unseen."""
        return len(self.levels or ()) + 2


class Encoding(Part):
    """A categorical input turned into one number, such as a weight of evidence: one value per code."""

    input: int = Field(ge=0)
    values: tuple[float, ...] = Field(min_length=3)


Split: TypeAlias = tuple[Annotated[int, Field(ge=0)], Literal["gt", "is"], float]
"""(input, test, operand): ``gt`` is float32(value) > operand, ``is`` is code == operand."""


class Tree(Part):
    """One symmetric tree. Bit j of the leaf index is the outcome of ``splits[j]``."""

    splits: tuple[Split, ...] = Field(max_length=MAX_DEPTH)
    leaves: tuple[float, ...]
    weights: tuple[Annotated[float, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _consistent(self) -> Tree:
        size = 1 << len(self.splits)
        if len(self.leaves) != size or len(self.weights) != size:
            raise ValueError(f"a tree with {len(self.splits)} splits has {size} leaves and weights")
        if not sum(self.weights) > 0:
            raise ValueError("a tree needs a leaf with positive weight")
        return self


class TreesModel(Part):
    """Symmetric gradient-boosted trees: margin = scale * (sum of leaves, in tree order) + bias."""

    kind: Literal["trees"] = "trees"
    trees: tuple[Tree, ...] = Field(min_length=1)
    scale: float = 1.0
    bias: float = 0.0
    missing_passes: tuple[int, ...] = Field(
        default=(), description="Numeric inputs whose missing value answers every 'gt' with yes; others answer no."
    )
    encodings: tuple[Encoding, ...] = ()


class StandardisedTerm(Part):
    """coefficient * (value - mean) / scale, after filling and clipping."""

    kind: Literal["standardised"] = "standardised"
    input: int = Field(ge=0)
    mean: float
    scale: float = Field(gt=0)
    coefficient: float
    background: float = Field(description="Mean of (value - mean) / scale over the background sample.")
    fill: float | None = Field(default=None, description="What stands for a missing value; None: missing is refused.")
    clip: tuple[float, float] | None = Field(default=None, description="Values outside are moved to the nearer bound.")

    @model_validator(mode="after")
    def _ordered(self) -> StandardisedTerm:
        if self.clip is not None and self.clip[0] > self.clip[1]:
            raise ValueError("'clip' is (low, high)")
        return self


class IndicatorTerm(Part):
    """coefficient where a categorical input has the code, else nothing."""

    kind: Literal["indicator"] = "indicator"
    input: int = Field(ge=0)
    code: int = Field(ge=0)
    coefficient: float
    background: float = Field(ge=0, le=1, description="Share of the background sample with this code.")


class MissingTerm(Part):
    """coefficient where a numeric input is missing, else nothing."""

    kind: Literal["missing"] = "missing"
    input: int = Field(ge=0)
    coefficient: float
    background: float = Field(ge=0, le=1, description="Share of the background sample that is missing.")


LinearTerm: TypeAlias = Annotated[StandardisedTerm | IndicatorTerm | MissingTerm, Field(discriminator="kind")]


class LinearModel(Part):
    """margin = intercept + sum of terms, in order."""

    kind: Literal["linear"] = "linear"
    intercept: float
    terms: tuple[LinearTerm, ...] = Field(min_length=1)


class NumericBins(Part):
    """Weight of evidence by interval: bin k holds ``edges[k-1] <= value < edges[k]``."""

    kind: Literal["numeric"] = "numeric"
    input: int = Field(ge=0)
    edges: tuple[float, ...]
    woe: tuple[float, ...]
    missing_woe: float
    coefficient: float
    background: float = Field(description="Mean weight of evidence over the background sample.")

    @model_validator(mode="after")
    def _consistent(self) -> NumericBins:
        if len(self.woe) != len(self.edges) + 1:
            raise ValueError("'woe' has one value more than 'edges'")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("'edges' must increase")
        return self


class LevelBins(Part):
    """Weight of evidence by code: levels in order, then missing, then unseen."""

    kind: Literal["categorical"] = "categorical"
    input: int = Field(ge=0)
    woe: tuple[float, ...]
    coefficient: float
    background: float = Field(description="Mean weight of evidence over the background sample.")


Characteristic: TypeAlias = Annotated[NumericBins | LevelBins, Field(discriminator="kind")]


class Points(Part):
    """points = offset - factor * margin: more points, less risk."""

    factor: float = Field(gt=0)
    offset: float


class ScorecardModel(Part):
    """margin = intercept + sum of coefficient * weight of evidence, in order."""

    kind: Literal["scorecard"] = "scorecard"
    intercept: float
    characteristics: tuple[Characteristic, ...] = Field(min_length=1)
    points: Points


Model: TypeAlias = Annotated[TreesModel | LinearModel | ScorecardModel, Field(discriminator="kind")]


class NoCalibration(Part):
    """p = sigmoid(margin), or the margin itself under the identity link."""

    kind: Literal["none"] = "none"


class PlattCalibration(Part):
    """p = sigmoid(slope * margin + intercept)."""

    kind: Literal["platt"] = "platt"
    slope: float = Field(ge=0)
    intercept: float


class IsotonicCalibration(Part):
    """Non-decreasing knots over the margin: interpolated, or the value of the last knot at or below the margin."""

    kind: Literal["isotonic"] = "isotonic"
    margins: tuple[float, ...] = Field(min_length=1)
    values: tuple[float, ...]
    between: Literal["linear", "step"] = "linear"
    clip: tuple[float, float] = Field(default=(1e-6, 1 - 1e-6), description="Open-interval bounds of the result.")

    @model_validator(mode="after")
    def _monotone(self) -> IsotonicCalibration:
        if len(self.margins) != len(self.values):
            raise ValueError("'margins' and 'values' differ in length")
        if any(low >= high for low, high in pairwise(self.margins)):
            raise ValueError("'margins' must increase")
        if any(low > high for low, high in pairwise(self.values)):
            raise ValueError("'values' must not decrease")
        if not 0 < self.clip[0] < self.clip[1] < 1:
            raise ValueError("'clip' must lie inside (0, 1)")
        return self


class BetaCalibration(Part):
    """p = sigmoid(a * ln(q) - b * ln(1 - q) + c) with q = sigmoid(margin)."""

    kind: Literal["beta"] = "beta"
    a: float = Field(ge=0)
    b: float = Field(ge=0)
    c: float


Calibration: TypeAlias = Annotated[
    NoCalibration | PlattCalibration | IsotonicCalibration | BetaCalibration, Field(discriminator="kind")
]


class GradePart(Part):
    """A grade: probabilities above the previous bound, up to and including ``upper``.

    Under the identity link it is a pool of predictions: ``pd`` is then the pool's value, and neither it nor ``upper``
    is bound to 0..1; predictions above the last ``upper`` belong to the last pool.
    """

    name: str = Field(min_length=1)
    upper: float
    pd: float


class ScorerDocument(Part):
    """Everything that turns the inputs of one row into a margin, a probability and a grade."""

    format: Literal["countermark/scorer/1"] = "countermark/scorer/1"
    inputs: tuple[InputPart, ...] = Field(min_length=1)
    model: Model
    link: Literal["sigmoid", "identity"] = "sigmoid"
    calibration: Calibration = NoCalibration()
    grades: tuple[GradePart, ...] = Field(
        default=(), description="Best first; the last 'upper' is 1. Under 'link: identity', pools, lowest first."
    )

    @model_validator(mode="after")
    def _consistent(self) -> ScorerDocument:
        names = [part.name for part in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError("two inputs have the same name")
        if self.link == "identity" and self.calibration.kind != "none":
            raise ValueError("'link: identity' takes no calibration")
        if self.grades:
            uppers = [grade.upper for grade in self.grades]
            if any(low >= high for low, high in pairwise(uppers)):
                raise ValueError("'grades' need increasing 'upper' bounds")
            if self.link == "sigmoid" and (uppers[0] <= 0.0 or uppers[-1] != 1.0):
                raise ValueError("'grades' need increasing 'upper' bounds above 0 that end at 1")
            if self.link == "sigmoid" and not all(0.0 <= grade.pd <= 1.0 for grade in self.grades):
                raise ValueError("'pd' of a grade must lie inside 0..1")
            if len({grade.name for grade in self.grades}) != len(self.grades):
                raise ValueError("two grades have the same name")
        for problem in _problems(self.inputs, self.model):
            raise ValueError(problem)
        return self


def _problems(inputs: tuple[InputPart, ...], model: TreesModel | LinearModel | ScorecardModel) -> Iterator[str]:
    match model:
        case TreesModel():
            yield from _tree_problems(inputs, model)
        case LinearModel():
            for k, term in enumerate(model.terms):
                numeric = not isinstance(term, IndicatorTerm)
                yield from _reference(inputs, term.input, numeric=numeric, place=f"term {k}")
                if isinstance(term, IndicatorTerm) and term.code >= inputs[term.input].codes:
                    yield f"term {k} names a code that input '{inputs[term.input].name}' does not have"
                if isinstance(term, StandardisedTerm) and term.fill is None and inputs[term.input].missing == "accept":
                    yield f"term {k} needs 'fill', or input '{inputs[term.input].name}' 'missing: refuse'"
        case ScorecardModel():
            for k, item in enumerate(model.characteristics):
                numeric = isinstance(item, NumericBins)
                yield from _reference(inputs, item.input, numeric=numeric, place=f"characteristic {k}")
                if isinstance(item, LevelBins) and len(item.woe) != inputs[item.input].codes:
                    yield f"characteristic {k} needs one 'woe' per level, then missing, then unseen"


def _tree_problems(inputs: tuple[InputPart, ...], model: TreesModel) -> Iterator[str]:
    encoded = {encoding.input for encoding in model.encodings}
    if len(encoded) != len(model.encodings):
        yield "two encodings of one input"
    for encoding in model.encodings:
        yield from _reference(inputs, encoding.input, numeric=False, place="an encoding")
        if len(encoding.values) != inputs[encoding.input].codes:
            yield f"the encoding of '{inputs[encoding.input].name}' needs a value per level, then missing, then unseen"
    if list(model.missing_passes) != sorted(set(model.missing_passes)):
        yield "'missing_passes' must increase"
    for k in model.missing_passes:
        yield from _reference(inputs, k, numeric=True, place="'missing_passes'")
    for t, tree in enumerate(model.trees):
        for k, test, operand in tree.splits:
            place = f"a split of tree {t}"
            if k >= len(inputs):
                yield f"{place} names input {k} of {len(inputs)}"
                return
            is_code = inputs[k].type == "categorical" and k not in encoded
            if is_code != (test == "is"):
                yield f"{place} asks '{test}' of input '{inputs[k].name}'"
            if is_code and (operand != math.floor(operand) or not 0 <= operand < inputs[k].codes):
                yield f"{place} names a code that input '{inputs[k].name}' does not have"
            if not is_code and not _is_float32(operand):
                yield f"{place} has a border that is no float32"


def _is_float32(value: float) -> bool:
    return abs(value) <= float(np.finfo(np.float32).max) and float(np.float32(value)) == value


def _reference(inputs: tuple[InputPart, ...], k: int, *, numeric: bool, place: str) -> Iterator[str]:
    if k < 0 or k >= len(inputs):
        raise ValueError(f"{place} names input {k} of {len(inputs)}")
    if (inputs[k].type == "numeric") != numeric:
        yield f"{place} needs a {'numeric' if numeric else 'categorical'} input, '{inputs[k].name}' is {inputs[k].type}"


def serialise(document: ScorerDocument) -> bytes:
    """The canonical bytes: keys in order, shortest exact numbers, one line per flat array, UTF-8, closing newline."""
    return ("".join(_lines(document.model_dump(mode="json"), "")) + "\n").encode("utf-8")


def _lines(value: Any, indent: str) -> Iterator[str]:
    inner = indent + " "
    if isinstance(value, dict) and value:
        yield "{\n"
        for k, (key, item) in enumerate(sorted(value.items())):
            yield ("" if k == 0 else ",\n") + inner + _text(key) + ": "
            yield from _lines(item, inner)
        yield "\n" + indent + "}"
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield "[\n"
        for k, item in enumerate(value):
            yield ("" if k == 0 else ",\n") + inner
            yield from _lines(item, inner)
        yield "\n" + indent + "]"
    else:
        yield _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def parse(data: bytes) -> ScorerDocument:
    """Read a scorer file.

    Raises:
        ScorerError: If the bytes are no scorer file, of another version, inconsistent, or not canonical.
    """
    try:
        raw = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ScorerError(
            "scorer file is damaged: it is no JSON text",
            expected=f"a document of format '{FORMAT}'",
            hint="fetch the file again and compare its digest",
        ) from error
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise ScorerError(
            "scorer file is of an unknown format",
            expected=f"'{FORMAT}'",
            got=f"'{found}'" if isinstance(found, str) else "no 'format'",
            hint="open it with the version of Countermark that wrote it",
        )
    document = build(raw)
    if serialise(document) != data:
        raise ScorerError(
            "scorer file is damaged: its bytes are not the canonical form of what it says",
            expected="the bytes that Countermark wrote",
            got="another spacing, order of keys, number form or a repeated key",
            hint="scorer files are not edited by hand; freeze the model again",
        )
    return document


def build(raw: Any) -> ScorerDocument:
    """Make a document of plain data.

    Raises:
        ScorerError: If the data break the format; names the place.
    """
    try:
        return ScorerDocument.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the document"
        raise ScorerError(
            f"scorer file is damaged at '{place}'",
            expected=first["msg"].removeprefix("Value error, "),
            got=f"{error.error_count()} such place" + ("s" if error.error_count() > 1 else ""),
            hint="freeze the model again",
        ) from error
