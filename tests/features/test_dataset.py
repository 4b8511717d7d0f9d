"""Assembly of the modelling data set."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.contracts.tables import content_digest
from countermark.errors import ConfigError, ContractError, CountermarkError, GuardError
from countermark.features.dataset import DatasetResult, add_samples, assemble, vintage_labels
from countermark.features.groups import band_names
from tests.features.specs import ROWS, contracted, spec, text_table

SEX = {"column": "sex", "provenance": "p", "reference": "m", "groups": {"m": [1], "f": [2]}}
AGE = {"column": "age", "provenance": "p", "reference": "25-59", "bands": [18, 25, 60], "undocumented": "minor"}
FAIRNESS = {"criterion": "c", "attributes": {"sex": SEX, "age": AGE}}


def build(change: dict[str, Any] | None = None, rows: list[dict[str, Any]] | None = None) -> DatasetResult:
    model = spec(change)
    tables, document = contracted(model, text_table(rows or ROWS))
    return assemble(model, tables, contract=document)


def test_the_layout() -> None:
    result = build({"fairness": FAIRNESS, "data": {"entity": "id", "segments": ["g"]}})
    assert result.dataset.to_pylist() == [
        dict(zip(result.dataset.column_names, row, strict=True))
        for row in [
            ("k1", 0, "k1", dt.date(2019, 1, 31), "2019Q1", "b", 1.5, "b"),
            ("k2", 1, "k2", dt.date(2019, 4, 1), "2019Q2", None, None, None),
            ("k3", 0, "k3", dt.date(2020, 6, 30), "2020Q2", "a", -2.0, "a"),
            ("k4", 1, "k4", dt.date(2020, 5, 15), "2020Q2", "b", 0.0, "b"),
        ]
    ]
    assert result.dataset.column_names == ["_key", "_y", "_entity", "_time", "_vintage", "_segment_g", "x", "grade"]
    assert [str(t) for t in result.dataset.schema.types] == [
        "string", "int8", "string", "date32[day]", "string", "string", "double", "string",
    ]  # fmt: skip
    assert result.protected.to_pylist() == [
        {"_key": "k1", "sex": "m", "age": "18-24"},
        {"_key": "k2", "sex": "f", "age": "25-59"},
        {"_key": "k3", "sex": "other", "age": "minor"},
        {"_key": "k4", "sex": "other", "age": "60+"},
    ]


def test_the_report() -> None:
    result = build({"contract": {"tolerance": 0.3}}, [*ROWS, ROWS[0] | {"id": "k5", "y": "maybe"}])
    report = json.loads(json.dumps(result.report))
    assert report["waterfall"] == [
        {"step": "source rows", "rows": 5, "dropped": 0, "reason": ""},
        {"step": "contract kept", "rows": 4, "dropped": 1, "reason": "quarantined under contract 'loans'"},
    ]
    assert report["rows_in"] == 5
    assert report["content_digest"] == content_digest(result.dataset)
    assert report["maturity"] == {
        "evaluated": True, "immature": 0, "excluded": 0, "n": 4, "reason": "0 of 4 labels are not final on 2020-12-31",
    }  # fmt: skip
    assert report["columns"]["x"] == {"type": "number", "missing": 1, "distinct": 3}
    assert {guard["name"]: guard["passed"] for guard in report["guards"]} == {
        "protected_input": True, "outcome_input": True, "leak_input": True, "identifier_input": True,
        "restricted_input": True, "immature_labels": True, "own_event": None, "outcome_copy": None, "protected_copy": None,
    }  # fmt: skip
    assert report["lineage"]["features"]["grade"] == {"table": "main", "column": "g"}
    assert result.protected.column_names == ["_key"]


def test_levels_turn_ordinal_text_into_numbers() -> None:
    result = build({"=features": {"g": {"meaning": "g", "levels": ["b", "a"]}}})
    assert result.dataset.column("g").to_pylist() == [0.0, None, 1.0, 0.0]


def test_without_dates_there_is_no_time_and_maturity_is_not_evaluated() -> None:
    change = {"=data": {}, "outcome": {"horizon_months": None, "maturity": {"basis": "none", "note": "no dates"}}}
    result = build(change)
    assert result.dataset.column_names == ["_key", "_y", "x", "grade"]
    reason = "the data has no dates to judge maturity by"
    assert result.report["maturity"] == {"evaluated": False, "immature": 0, "excluded": 0, "n": 4, "reason": reason}
    assert {"name": "immature_labels", "passed": None, "detail": f"not evaluated: {reason}"} in result.report["guards"]


def test_immature_labels_stop_the_build_or_are_excluded() -> None:
    assert build({"outcome": {"delay_days": 1}}).dataset.num_rows == 4  # final on the as-of date itself
    with pytest.raises(GuardError, match="guard 'immature_labels': 1 of 4 labels are not final"):
        build({"outcome": {"delay_days": 2}})
    result = build({"outcome": {"delay_days": 2, "immature": "exclude"}})
    assert result.dataset.column("_key").to_pylist() == ["k1", "k2", "k4"]
    assert result.report["waterfall"][-1] == {
        "step": "mature labels", "rows": 3, "dropped": 1, "reason": "label not final on the as-of date",
    }  # fmt: skip
    assert (result.report["maturity"]["excluded"], result.report["maturity"]["n"]) == (1, 4)


@pytest.mark.parametrize(
    ("values", "positive", "negative"),
    [
        (("no", "yes"), "yes", "no"),
        (("0", "1"), 1, 0),
        (("2", "1"), 1, 2),
        (("0", "1"), "1", "0"),
        (("0", "1"), True, False),
    ],
)
def test_outcome_values(values: tuple[str, str], positive: Any, negative: Any) -> None:
    rows = [row | {"y": values[int(row["y"])]} for row in ROWS]
    kind = "text" if values[0] == "no" else "integer"
    outcome = {"positive": positive, "negative": negative}
    result = build({"contract": {"columns": {"y": {"type": kind}}}, "outcome": outcome}, rows)
    assert result.dataset.column("_y").to_pylist() == [0, 1, 0, 1]


def test_an_amount_as_outcome() -> None:
    rows = [row | {"y": "0.25"} for row in ROWS]
    change = {"kind": "lgd", "contract": {"columns": {"y": {"type": "number"}}}}
    dataset = build(change, rows).dataset
    assert dataset.column("_y").to_pylist() == [0.25] * 4
    per_cent = [row | {"y": "35"} for row in ROWS]
    with pytest.raises(GuardError, match="the outcome 'y' is no share") as caught:
        build(change, per_cent)
    assert "divide per cent by 100" in str(caught.value)
    money = build(change | {"kind": "ead"}, per_cent).dataset
    assert money.column("_y").to_pylist() == [35.0] * 4
    with pytest.raises(ConfigError, match="the outcome 'y' is no number"):
        build({"kind": "lgd", "contract": {"columns": {"y": {"type": "text"}}}})


def changed(place: int, **values: Any) -> list[dict[str, Any]]:
    return [row | values if i == place else row for i, row in enumerate(ROWS)]


NONE: dict[str, Any] = {"basis": "none"}
BAD: dict[str, tuple[dict[str, Any], list[dict[str, Any]], type[CountermarkError], str]] = {
    "an outcome that is missing": (
        {"contract": {"columns": {"y": {"nullable": True}}}},
        changed(1, y=None),
        GuardError,
        "the outcome 'y' is missing",
    ),
    "an outcome of a third value": ({}, changed(1, y="2"), GuardError, "neither positive nor negative"),
    "no event at all": ({}, [row | {"y": "0"} for row in ROWS], GuardError, "has no positive row"),
    "nothing but events": ({}, [row | {"y": "1"} for row in ROWS], GuardError, "has no negative row"),
    "one row": ({}, ROWS[:1], GuardError, "has no positive row"),
    "one value for both classes": ({"outcome": {"negative": 1}}, ROWS, ConfigError, "are the same"),
    "an outcome column misspelt": ({"outcome": {"column": "Y"}}, ROWS, ConfigError, "outcome names column 'Y'"),
    "a feature column misspelt": (
        {"features": {"agee": {"meaning": "m"}}},
        ROWS,
        ConfigError,
        "feature 'agee' names column",
    ),
    "a leak misspelt": ({"data": {"leaks": ["latte"]}}, ROWS, ConfigError, "data.leaks names column 'latte'"),
    "a segment misspelt": ({"data": {"segments": ["gg"]}}, ROWS, ConfigError, "data.segments names column"),
    "a table misspelt": ({"data": {"table": "mian"}}, ROWS, ConfigError, "data.table names 'mian'"),
    "a time that is no date": ({"data": {"time": "age"}}, ROWS, ConfigError, "'age', which is no date"),
    "a time that is missing": ({}, changed(2, day=None), GuardError, "observation date 'day' is missing"),
    "a column of dates and one date": ({"data": {"observed_at": "2020-01-01"}}, ROWS, ConfigError, "both 'time' and"),
    "text for a numeric feature": (
        {"features": {"grade": {"type": "numeric"}}},
        ROWS,
        ConfigError,
        "numeric feature 'grade'",
    ),
    "a number for a categorical feature": (
        {"features": {"x": {"type": "categorical"}}},
        ROWS,
        ConfigError,
        "categorical feature 'x'",
    ),
    "a value outside its levels": (
        {"=features": {"g": {"meaning": "m", "levels": ["a"]}}},
        ROWS,
        GuardError,
        "outside its 'levels'",
    ),
    "a level listed twice": (
        {"=features": {"g": {"meaning": "m", "levels": ["a", "a"]}}},
        ROWS,
        ConfigError,
        "a level twice",
    ),
    "levels of a fraction": ({"features": {"x": {"levels": ["a"]}}}, ROWS, ConfigError, "has 'levels' and comes from"),
    "a reserved feature name": (
        {"features": {"_z": {"meaning": "m", "source": "age"}}},
        ROWS,
        ConfigError,
        "starts with '_'",
    ),
    "an input in another currency": ({"features": {"x": {"unit": "USD"}}}, ROWS, ContractError, "mixes currencies"),
    "maturity by dates without dates": ({"data": {"time": None}}, ROWS, ConfigError, "no dates to judge by"),
    "maturity by dates without a horizon": (
        {"outcome": {"horizon_months": None}},
        ROWS,
        ConfigError,
        "outcome.horizon_months",
    ),
    "maturity hidden although there are dates": (
        {"outcome": {"maturity": NONE}},
        ROWS,
        ConfigError,
        "but the data has dates",
    ),
    "a key that is not unique": (
        {
            "source": {"row_key": "g"},
            "=features": {"x": {"meaning": "m"}},
            "contract": {"tolerance": 0.5, "columns": {"g": {}}},
        },
        ROWS,
        GuardError,
        "the row key does not identify",
    ),
    "groups and bands at once": (
        {"fairness": {"criterion": "c", "attributes": {"sex": SEX | {"bands": [1]}}}},
        ROWS,
        ConfigError,
        "both 'groups' and",
    ),
    "a reference group without rows": (
        {"fairness": {"criterion": "c", "attributes": {"sex": SEX | {"reference": "x"}}}},
        ROWS,
        ConfigError,
        "has no rows",
    ),
    "a value in two groups": (
        {"fairness": {"criterion": "c", "attributes": {"sex": SEX | {"groups": {"m": [1], "f": [1]}}}}},
        ROWS,
        ConfigError,
        "a value into two groups",
    ),
    "bands that do not ascend": (
        {"fairness": {"criterion": "c", "attributes": {"age": AGE | {"bands": [25, 18]}}}},
        ROWS,
        ConfigError,
        "do not ascend",
    ),
    "bands of text": (
        {
            "fairness": {"criterion": "c", "attributes": {"g": AGE | {"column": "g"}}},
            "=features": {"x": {"meaning": "m"}},
        },
        ROWS,
        ConfigError,
        "has bands and is no number",
    ),
    "a protected input": (
        {"fairness": FAIRNESS, "features": {"age": {"meaning": "m"}}},
        ROWS,
        GuardError,
        "guard 'protected_input'",
    ),
    "a feature view without a time": (
        {
            "data": {"time": None},
            "outcome": {"horizon_months": None, "maturity": NONE},
            "feature_views": {
                "v": {
                    "name": "v",
                    "table": "main",
                    "entity": "id",
                    "event_time": "day",
                    "clock": "day",
                    "features": {"f": {"kind": "column", "column": "x"}},
                }
            },
            "features": {"f": {"meaning": "m", "source": "v.f"}},
        },
        ROWS,
        ConfigError,
        "needs a time to be computed as of",
    ),
    "a feature view of no table": (
        {
            "feature_views": {
                "v": {
                    "name": "v",
                    "table": "gone",
                    "entity": "id",
                    "event_time": "day",
                    "clock": "day",
                    "features": {"f": {"kind": "column", "column": "x"}},
                }
            },
            "features": {"f": {"meaning": "m", "source": "v.f"}},
        },
        ROWS,
        ConfigError,
        "reads table 'gone'",
    ),
    "a feature view with nothing to see": (
        {
            "=data": {"observed_at": "2018-01-01"},
            "feature_views": {
                "v": {
                    "name": "v",
                    "table": "main",
                    "entity": "id",
                    "event_time": "day",
                    "clock": "day",
                    "features": {"f": {"kind": "column", "column": "x"}},
                }
            },
            "features": {"f": {"meaning": "m", "source": "v.f"}},
        },
        ROWS,
        GuardError,
        "input 'f' has no value in any row",
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_what_stops_the_build(sentence: str) -> None:
    change, rows, kind, message = BAD[sentence]
    with pytest.raises(kind) as caught:
        build(change, rows)
    assert message in str(caught.value)


def test_a_misspelt_column_gets_its_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'late'"):
        build({"data": {"leaks": ["latte"]}})


def test_infinite_inputs_are_refused() -> None:
    model = spec()
    tables, document = contracted(model, text_table(ROWS))
    main = tables["main"]
    spoiled = main.set_column(main.column_names.index("x"), "x", pa.array([1.0, float("inf"), 2.0, 3.0]))
    with pytest.raises(GuardError, match="input 'x' has infinite values"):
        assemble(model, {"main": spoiled}, contract=document)


def test_numbers_that_no_learner_can_compare_are_refused() -> None:
    model = spec()
    tables, document = contracted(model, text_table(ROWS))
    main = tables["main"]
    spoiled = main.set_column(main.column_names.index("x"), "x", pa.array([1.0, -1e39, 2.0, 3.0]))
    with pytest.raises(GuardError, match="input 'x' has numbers that no learner can compare") as caught:
        assemble(model, {"main": spoiled}, contract=document)
    assert caught.value.got == "1 of 4 rows beyond"


def test_without_a_contract_document_the_waterfall_starts_at_the_contracted_rows() -> None:
    model = spec()
    tables, _ = contracted(model, text_table(ROWS))
    assert assemble(model, tables).report["waterfall"] == [
        {"step": "contracted rows", "rows": 4, "dropped": 0, "reason": ""}
    ]


def test_samples_are_added_and_dropped_rows_counted() -> None:
    result = build({"data": {"entity": "g"}, "=features": {"x": {"meaning": "m"}}})
    before = json.dumps(result.report)
    labelled, report = add_samples(result.dataset, ["development", "calibration", "out_of_time", None], result.report)
    assert labelled.column_names[:3] == ["_key", "_y", "_sample"]
    assert report["samples"] == {
        "development": {"n": 1, "events": 0},
        "calibration": {"n": 1, "events": 1},
        "out_of_time": {"n": 1, "events": 0},
    }
    assert report["waterfall"][-1] == {"step": "split", "rows": 3, "dropped": 1, "reason": "dropped by the split"}
    assert report["overlap"]["entities"] == 0
    assert report["content_digest"] == content_digest(labelled)
    assert report["guards"][-1]["name"] == "entity_overlap"
    assert json.dumps(result.report) == before


BAD_SPLITS: dict[str, tuple[list[str | None], type[CountermarkError], str]] = {
    "an entity on both sides": (["development", "holdout", "holdout", "holdout"], GuardError, "guard 'entity_overlap'"),
    "no test rows": (["development"] * 4, GuardError, "no development rows or no test rows"),
    "no development rows": ([None, "holdout", "holdout", None], GuardError, "no development rows or no test rows"),
    "a sample of no known name": (["development", "train", "holdout", None], ConfigError, "unknown samples"),
    "too few labels": (["development"], ConfigError, "another number of sample labels"),
}


@pytest.mark.parametrize("sentence", BAD_SPLITS)
def test_splits_that_stop_the_build(sentence: str) -> None:
    labels, kind, message = BAD_SPLITS[sentence]
    result = build({"data": {"entity": "g"}, "=features": {"x": {"meaning": "m"}}})
    with pytest.raises(kind, match=message):
        add_samples(result.dataset, labels, result.report)


@given(st.lists(st.dates(dt.date(1950, 1, 1), dt.date(2080, 12, 31)), min_size=1, max_size=20))
def test_vintages_name_their_dates_and_sort_in_time(days: list[dt.date]) -> None:
    array = pa.array(days, pa.date32())
    assert vintage_labels(array, "year").to_pylist() == [f"{d.year}" for d in days]
    assert vintage_labels(array, "month").to_pylist() == [f"{d.year}-{d.month:02d}" for d in days]
    quarters = vintage_labels(array, "quarter").to_pylist()
    assert quarters == [f"{d.year}Q{(d.month + 2) // 3}" for d in days]
    assert [quarters[i] for i in np.argsort(np.array(days, "datetime64[D]"), kind="stable")] == sorted(quarters)


def test_band_names() -> None:
    assert band_names((21, 25, 35)) == ["21-24", "25-34", "35+"]
    assert band_names((0.5, 1.5)) == ["0.5 to below 1.5", "1.5+"]
