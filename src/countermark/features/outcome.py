"""The outcome as numbers, and whether it is final."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.spec import ModelSpec
from countermark.errors import ConfigError, GuardError
from countermark.features.guards import Guard

MOST_LGD = 2.0
"""A mean loss beyond twice the exposure is per cent or money, not a share."""


def outcome_values(spec: ModelSpec, column: pa.ChunkedArray) -> pa.Array:
    """``_y``: int8 with 1 for the event, or float64 for kinds whose outcome is an amount or a share.

    Raises:
        GuardError: Missing outcomes, losses given default that are no shares, values that are neither ``positive``
            nor ``negative``, an empty class.
        ConfigError: ``positive`` equals ``negative``.
    """
    outcome = spec.outcome
    missing = column.null_count
    if missing:
        raise GuardError(
            f"the outcome '{outcome.column}' is missing",
            expected="a value in every row",
            got=f"{missing} of {len(column)} rows without one",
            hint="leave such rows out and count them with 'outcome: {unresolved: [null]}', or repair the data",
        )
    if spec.is_amount:
        _refuse_text(outcome.column, column)
        amounts = column.cast(pa.float64()).combine_chunks()
        if spec.kind == "lgd":
            _refuse_per_cent(outcome.column, amounts)
        return amounts
    positive, negative = _matches_any(column, outcome.events), _matches_any(column, outcome.non_events)
    if outcome.positive == outcome.negative or bool((positive & negative).any()):
        raise ConfigError("'positive' and 'negative' of the outcome are the same", expected="two different values")
    neither = int((~positive & ~negative).sum())
    if neither:
        raise GuardError(
            f"the outcome '{outcome.column}' has values that are neither positive nor negative",
            expected=f"{_either((*outcome.events, *outcome.non_events))}",
            got=f"{neither} of {len(column)} rows with another value",
            hint="correct 'positive' and 'negative', or list the values of unresolved rows under 'unresolved'",
        )
    for name, mask, values in (("positive", positive, outcome.events), ("negative", negative, outcome.non_events)):
        if not mask.any():
            raise GuardError(
                f"the outcome '{outcome.column}' has no {name} row",
                expected=f"rows of both classes; {name} is {_either(values)}",
                got=f"0 of {len(column)}",
                hint="a model needs both classes; check the extract and the outcome's values",
            )
    return pa.array(positive.astype(np.int8))


def resolved_rows(spec: ModelSpec, column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Rows (n,) whose outcome is none of ``outcome.unresolved``.

    Raises:
        GuardError: If no row is left.
    """
    unresolved = spec.outcome.unresolved
    values = tuple(value for value in unresolved if value is not None)
    missing: NDArray[np.bool_] = pc.is_null(column).to_numpy().astype(bool)
    left = ~missing & ~_matches_any(column, values)
    if None not in unresolved:
        left |= missing
    if not left.any():
        raise GuardError(
            f"the outcome '{spec.outcome.column}' is resolved in no row",
            expected="rows with an event and rows without",
            got=f"{len(column)} rows, all missing or listed under 'unresolved'",
            hint="correct 'outcome.unresolved', or the outcome's column",
        )
    return left


def _either(values: tuple[int | str | bool | float, ...]) -> str:
    return " or ".join(repr(value) for value in values)


def _refuse_text(name: str, column: pa.ChunkedArray) -> None:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ConfigError(
            f"the outcome '{name}' is no number",
            expected="integer or number",
            got=str(column.type),
            hint="correct its type in the contract",
        )


def _refuse_per_cent(name: str, amounts: pa.Array) -> None:
    """A loss given default is a share of the exposure: buckets, pools and limits are set in shares."""
    size = pc.mean(pc.abs(amounts)).as_py()
    if size is not None and size > MOST_LGD:
        raise GuardError(
            f"the outcome '{name}' is no share",
            expected="losses as shares of the exposure, 0.35 for 35 %; single values below 0 and above 1 are kept",
            got=f"a mean size above {MOST_LGD:g}",
            hint="divide per cent by 100, or amounts by the exposure, where the data is made",
        )


def _matches_any(column: pa.ChunkedArray, values: tuple[int | str | bool | float, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(len(column), dtype=bool)
    for value in values:
        mask |= _matches(column, value)
    return mask


def _matches(column: pa.ChunkedArray, value: int | str | bool | float) -> NDArray[np.bool_]:
    if pa.types.is_string(column.type):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        found = pc.equal(column, text)
    elif isinstance(value, str):
        found = pc.equal(column.cast(pa.string()), value)
    else:
        found = pc.equal(column.cast(pa.float64()), float(value))
    mask: NDArray[np.bool_] = pc.fill_null(found, False).to_numpy().astype(bool)
    return mask


@dataclass(frozen=True, slots=True)
class LabelMaturity:
    """Which labels are final.

    Attributes:
        keep: Rows to keep, bool (n,).
        report: ``evaluated``, ``immature`` (left in the data set), ``excluded``, ``n``, ``reason``.
        guard: The guard's outcome.
    """

    keep: NDArray[np.bool_]
    report: dict[str, Any]
    guard: Guard


def label_maturity(spec: ModelSpec, time: pa.Array | None, rows: int) -> LabelMaturity:
    """Judge labels by their dates.

    A label is final when ``time`` + ``horizon_months`` + ``delay_days`` is on or before the source's as-of date.

    Args:
        spec: The model.
        time: Observation dates (date32), or None.
        rows: Number of rows.

    Raises:
        ConfigError: ``basis: dates`` without dates, horizon or as-of date; ``basis: none`` although there are dates.
    """
    outcome, as_of = spec.outcome, spec.source.as_of
    everything = np.ones(rows, dtype=bool)
    if outcome.maturity.basis == "none":
        _refuse_hidden_dates(spec)
        reason = "the data has no dates to judge maturity by"
        report = {"evaluated": False, "immature": 0, "excluded": 0, "n": rows, "reason": reason}
        return LabelMaturity(everything, report, Guard("immature_labels", None, f"not evaluated: {reason}"))
    absent = [
        name
        for name, value in (
            ("data.time", time),
            ("outcome.horizon_months", outcome.horizon_months),
            ("source.as_of", as_of),
        )
        if value is None
    ]
    if time is None or outcome.horizon_months is None or as_of is None:
        raise ConfigError(
            "label maturity has 'basis: dates' and no dates to judge by",
            expected="data.time (or observed_at), outcome.horizon_months and source.as_of",
            got="missing: " + ", ".join(absent),
            hint="declare them, or 'basis: none' with a note",
        )
    observed = pd.Series(time.cast(pa.timestamp("us")).to_pandas())
    final = observed + pd.DateOffset(months=outcome.horizon_months) + pd.Timedelta(days=outcome.delay_days)
    mature = (final <= pd.Timestamp(as_of)).to_numpy()
    immature = int(rows - mature.sum())
    told = f"{immature} of {rows} labels are not final on {as_of}"
    if immature and outcome.immature == "refuse":
        return LabelMaturity(everything, {}, Guard("immature_labels", False, told))
    report = {
        "evaluated": True,
        "immature": 0,
        "excluded": immature,
        "n": rows,
        "reason": f"{told}; excluded" if immature else told,
    }
    return LabelMaturity(mature, report, Guard("immature_labels", True, f"{told}; {immature} excluded"))


def _refuse_hidden_dates(spec: ModelSpec) -> None:
    estimated = spec.source.estimated_vintage
    dated = spec.data.observed_at is not None or (
        spec.data.time is not None and (estimated is None or spec.data.time != estimated.column)
    )
    if dated and spec.outcome.horizon_months is not None and spec.source.as_of is not None:
        raise ConfigError(
            "label maturity has 'basis: none', but the data has dates, a horizon and an as-of date",
            expected="basis: dates",
            hint="set outcome.maturity.basis to 'dates'; 'none' is for data without dates",
        )
