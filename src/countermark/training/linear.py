"""Logistic and ridge regression on standardised inputs, frozen at a few significant digits.

The rounded model is the model: it is what is calibrated, graded, evaluated and served.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countermark.config.learner import LogisticLearner
from countermark.errors import TrainingError
from countermark.records.digest import round_significant
from countermark.scoring.format import (
    IndicatorTerm,
    InputPart,
    LinearModel,
    LinearTerm,
    MissingTerm,
    StandardisedTerm,
)
from countermark.training.fitted import Fitted
from countermark.training.newton import FloatArray, fit_logistic, fit_ridge, settle
from countermark.training.table import (
    Input,
    Rows,
    categorical_input,
    level_codes,
    levels_of,
    missing_rows,
    numeric_input,
    refuse_class_weights,
    rounded,
    row_weights,
)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of the design: its values, the term it becomes, and the sign it may not leave."""

    term: LinearTerm
    values: FloatArray
    direction: int


def fit_linear(learner: LogisticLearner, inputs: tuple[Input, ...], rows: Rows, *, continuous: bool) -> Fitted:
    """Fit on development rows.

    Numeric inputs are standardised, missing values take the median and a flag of their own; categories become
    indicators against the most frequent level. An input whose enforced direction comes out reversed is left out.

    Args:
        learner: Penalty, weights and digits.
        inputs: Declared inputs.
        rows: Development rows.
        continuous: Ridge regression on the outcome instead of logistic regression.

    Raises:
        TrainingError: If no input is left, or class weights are asked of a continuous outcome.
    """
    refuse_class_weights(learner.class_weights, continuous=continuous)
    parts = tuple(_input_part(item, rows) for item in inputs)
    columns = [column for k, item in enumerate(inputs) for column in _columns(k, item, parts[k], rows, learner)]
    columns, reversed_inputs, coefficients, intercept = _fit_signed(learner, columns, inputs, rows, continuous)
    terms = [
        column.term.model_copy(update={"coefficient": settle(float(value), learner.significant_digits)})
        for column, value in zip(columns, coefficients, strict=True)
    ]
    used = sorted({term.input for term in terms})
    place = {old: new for new, old in enumerate(used)}
    model = LinearModel(
        intercept=settle(intercept, learner.significant_digits),
        terms=tuple(term.model_copy(update={"input": place[term.input]}) for term in terms),
    )
    report = {
        "intercept": model.intercept,
        "coefficients": [_term_row(term, parts[old.input]) for term, old in zip(model.terms, terms, strict=True)],
        "reversed": reversed_inputs,
    }
    return Fitted(tuple(parts[k] for k in used), model, report)


def _input_part(item: Input, rows: Rows) -> InputPart:
    if item.type == "numeric":
        return numeric_input(item.name)
    return categorical_input(item.name, levels_of(rows.columns[item.name]))


def _columns(k: int, item: Input, part: InputPart, rows: Rows, learner: LogisticLearner) -> list[_Column]:
    values = rows.columns[item.name]
    if part.levels is not None:
        codes = level_codes(values, part.levels)
        count = np.bincount(codes, minlength=part.codes)
        baseline = int(np.argmax(count))
        return [
            _Column(
                IndicatorTerm(input=k, code=code, coefficient=0.0, background=rounded(count[code] / rows.n)),
                (codes == code).astype(np.float64),
                0,
            )
            for code in range(part.codes)
            if code != baseline and count[code] > 0
        ]
    missing = missing_rows(values)
    known = values[~missing].astype(np.float64)
    fill = round_significant(float(np.median(known)), 9)
    filled = np.where(missing, fill, values.astype(np.float64))
    mean = settle(float(filled.mean()), learner.significant_digits)
    scale = round_significant(float(filled.std()), learner.significant_digits)
    columns = []
    if scale > 0 and known.min() < known.max():
        standardised = (filled - mean) / scale
        term = StandardisedTerm(
            input=k, mean=mean, scale=scale, coefficient=0.0, background=rounded(_centre(standardised)), fill=fill
        )
        columns.append(_Column(term, standardised, item.direction))
    if missing.any() and not missing.all():
        share = rounded(float(missing.mean()))
        columns.append(_Column(MissingTerm(input=k, coefficient=0.0, background=share), missing.astype(np.float64), 0))
    return columns


def _centre(values: FloatArray) -> float:
    return round(float(values.mean()), 12)


def _fit_signed(
    learner: LogisticLearner,
    columns: list[_Column],
    inputs: tuple[Input, ...],
    rows: Rows,
    continuous: bool,
) -> tuple[list[_Column], list[str], FloatArray, float]:
    """Fit, leave out what comes out against its enforced direction, fit again."""
    reversed_inputs: list[str] = []
    weight = row_weights(rows.y, learner.class_weights)
    while columns:
        design = np.column_stack([column.values for column in columns])
        if continuous:
            coefficients, intercept = fit_ridge(design, rows.y, penalty=1.0 / learner.c)
        else:
            coefficients, intercept = fit_logistic(
                design, rows.y, weight=weight, penalty=1.0 / learner.c, max_iter=learner.max_iter
            )
        against = [column.direction * float(value) for column, value in zip(columns, coefficients, strict=True)]
        worst = int(np.argmin(against))
        if against[worst] >= 0:
            return columns, reversed_inputs, coefficients, intercept
        name = inputs[columns[worst].term.input].name
        reversed_inputs.append(name)
        # The whole input leaves: a flag for its missing values alone would say nothing a reader could use.
        columns = [column for column in columns if inputs[column.term.input].name != name]
    raise TrainingError(
        "no input is left for the linear model",
        expected="an input that varies and has its enforced direction",
        got="left out as reversed: " + (", ".join(reversed_inputs) or "none"),
        hint="review 'expected' and 'monotone' of the features",
    )


def _term_row(term: LinearTerm, part: InputPart) -> dict[str, object]:
    names = (*(part.levels or ()), "(missing)", "(unseen)")
    level = names[term.code] if isinstance(term, IndicatorTerm) else None
    return {"input": part.name, "term": term.kind, "level": level, "coefficient": term.coefficient}
