"""Views of a model compiled together, and the guards that keep the future and the row itself out of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from countermark.config.feature_view import FeatureView
from countermark.contracts.instants import UTC
from countermark.errors import ConfigError, GuardError
from countermark.features.dataset import assemble
from countermark.features.definitions import DefinitionError
from countermark.features.guards import declared_guards, origins
from countermark.features.plans import model_views, view_problems
from tests.features.specs import contracted, spec, text_table

VIEW: dict[str, Any] = {
    "name": "v",
    "table": "main",
    "entity": "g",
    "event_time": "day",
    "known_delay": {"days": 1},
    "clock": "day",
    "features": {"n": {"kind": "window", "function": "count", "days": 30}},
}


def change(view: dict[str, Any] | None = None, source: str = "v.n", **more: Any) -> dict[str, Any]:
    return {"feature_views": {"v": VIEW | (view or {})}, "features": {"f": {"meaning": "m", "source": source}}} | more


def on_demand(**expressions: str) -> dict[str, Any]:
    made = {name: {"kind": "on_demand", "expression": text} for name, text in expressions.items()}
    return {"features": VIEW["features"] | made}


def test_expressions_run_after_what_they_read() -> None:
    views = model_views(spec(change(on_demand(c="b + 1", b="a + n", a="request.x * 2", unused="n + 1"), "v.c")))
    assert [feature.name for feature in views.on_demand] == ["v.a", "v.b", "v.c"]
    assert views.fields == ("x", "g")
    assert list(views.plans) == ["v"]
    assert views.types["v.c"] == "number"


def test_a_view_that_no_input_reads_is_checked_and_left_out() -> None:
    views = model_views(spec({"feature_views": {"v": VIEW}}))
    assert (views.plans, views.on_demand, views.fields) == ({}, (), ("x", "g"))
    with pytest.raises(DefinitionError, match="names columns that table 'main' does not have"):
        model_views(spec({"feature_views": {"v": VIEW | {"entity": "gone"}}}))


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "a view filed under another name": (
        {"feature_views": {"w": VIEW}}, ("feature_views", "w", "name"), "filed under another name",
    ),
    "a table without a contract": (
        change({"table": "mian"}), ("feature_views", "v", "table"), "reads table 'mian', which no contract",
    ),
    "no time to ask at": (
        change(**{"=data": {}}, outcome={"maturity": {"basis": "none"}, "horizon_months": None}), ("data",), "needs a time",
    ),
    "the request's own row": (
        change({"known_delay": None}), ("feature_views", "v"), "would see the very row that asks",
    ),
    "a column that is not there": (
        change({"features": {"n": {"kind": "column", "column": "z"}}}),
        ("feature_views", "v", "features", "n", "column"),
        "names columns that table 'main' does not have",
    ),
    "an expression that reads nothing known": (
        change(on_demand(a="request.xx + 1"), "v.a"),
        ("feature_views", "v", "features", "a", "expression"),
        "feature 'v.a': expression 'request.xx \\+ 1' reads 'request.xx', which is not there",
    ),
    "expressions that wait for one another": (
        change(on_demand(a="b + 1", b="a + 1"), "v.a"),
        ("feature_views", "v", "features", "a", "expression"),
        "waits for one that waits for it",
    ),
    "a filter of text": (
        change({"features": {"n": {"kind": "window", "function": "count", "days": 1, "filter": "g"}}}),
        ("feature_views", "v", "features", "n", "filter"),
        "is no condition",
    ),
    "a feature that the view does not have": (
        change(source="v.m"), ("features", "f", "source"), "asks view 'v' for 'm', which it does not have",
    ),
    "an entity that no request can name": (
        {
            "table_contracts": {"t": {"name": "t", "table": "t", "columns": {"who": {"type": "text"}, "at": {"type": "date"}}}},
            **change({"table": "t", "entity": "who", "event_time": "at"}),
        },
        ("feature_views", "v", "entity"),
        "names no column of the table of training rows",
    ),
    "an entity of another type": (
        {
            "table_contracts": {"t": {"name": "t", "table": "t", "columns": {"g": {"type": "integer"}, "at": {"type": "date"}}}},
            **change({"table": "t", "event_time": "at"}),
        },
        ("feature_views", "v", "entity"),
        "asked by another type of entity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG)
def test_mistakes_are_found_by_key_without_data(sentence: str) -> None:
    made, path, message = WRONG[sentence]
    model = spec(made)
    with pytest.raises(DefinitionError, match=message):
        model_views(model)
    (problem,) = view_problems(model)
    assert problem.path == path
    assert isinstance(DefinitionError(problem), ConfigError)


def test_origins_follow_expressions_and_filters() -> None:
    features = {
        "n": {"kind": "window", "function": "count", "days": 3, "filter": "sex == 1 and late > 0"},
        "a": {"kind": "on_demand", "expression": "n + request.x"},
        "b": {"kind": "on_demand", "expression": "v.a / request.age"},
    }
    model = spec(change({"features": features}, "v.b"))
    assert origins(model, "f") == {"sex", "late", "x", "age"}
    refused = {guard.name for guard in declared_guards(model) if guard.passed is False}
    assert refused == {"leak_input"}


@pytest.mark.parametrize(
    ("view", "outcome", "passed"),
    [
        ({"known_delay": {"days": 186}}, {}, True),
        ({"known_delay": {"days": 185}}, {}, False),
        ({"known_delay": {"days": 186}}, {"delay_days": 1}, False),
        ({"known_delay": {"days": 187}}, {"delay_days": 1}, True),
        ({"known_delay": None, "known_at": "day"}, {}, False),
    ],
)
def test_the_outcome_is_an_input_only_as_the_past(view: dict[str, Any], outcome: dict[str, Any], passed: bool) -> None:
    counting = {"n": {"kind": "window", "column": "y", "function": "sum", "days": 365}}
    model = spec(change(view | {"features": counting}, outcome=outcome))
    (guard,) = [guard for guard in declared_guards(model) if guard.name == "outcome_input"]
    assert guard.passed is passed
    direct = spec(change(view | on_demand(a="request.y + n"), "v.a", outcome=outcome))
    (guard,) = [guard for guard in declared_guards(direct) if guard.name == "outcome_input"]
    assert guard.passed is False


def rows(count: int = 6) -> list[dict[str, Any]]:
    start = dt.date(2019, 1, 1)
    return [
        {
            "id": f"k{k}", "y": str(k % 2), "x": str(k), "g": "a", "late": "0", "sex": "1", "age": "30",
            "day": (start + dt.timedelta(days=10 * k)).isoformat(),
        }
        for k in range(count)
    ]  # fmt: skip


def test_no_row_sees_itself() -> None:
    model = spec(change())
    tables, document = contracted(model, text_table(rows()))
    result = assemble(model, tables, contract=document)
    assert result.dataset.column("f").to_pylist() == [0.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert {g["name"]: g["passed"] for g in result.report["guards"]}["own_event"] is True
    assert result.report["lineage"]["views"]["v"]["known_delay"] == {"days": 1}
    assert len(result.report["lineage"]["views"]["v"]["version"]) == 64


def test_a_row_that_would_see_itself_stops_the_build() -> None:
    model = spec(change({"known_delay": None, "known_at": "day"}))
    tables, document = contracted(model, text_table(rows()))
    with pytest.raises(GuardError, match="guard 'own_event': 6 rows would see themselves in feature view 'v'"):
        assemble(model, tables, contract=document)


def test_rows_whose_windows_are_not_filled_train_nothing_but_are_seen() -> None:
    model = spec(change(data={"warm_up_days": 30}))
    tables, document = contracted(model, text_table(rows()))
    result = assemble(model, tables, contract=document)
    assert result.dataset.column("_key").to_pylist() == ["k3", "k4", "k5"]
    assert result.dataset.column("f").to_pylist() == [2.0, 2.0, 2.0]
    assert result.report["waterfall"][-1] == {
        "step": "filled windows", "rows": 3, "dropped": 3, "reason": "windows reach before the data begin",
    }  # fmt: skip
    undated = spec(
        {"=data": {"warm_up_days": 30}, "outcome": {"horizon_months": None, "maturity": {"basis": "none", "note": "n"}}}
    )
    with pytest.raises(ConfigError, match="counts from the first row's date, and the rows have none"):
        assemble(undated, tables, contract=document)


def test_the_time_of_a_request_may_be_an_instant() -> None:
    model = spec(
        change(
            {
                "clock": "instant",
                "known_delay": {"seconds": 1},
                "features": {"n": {"kind": "window", "function": "count", "minutes": 10}},
            }
        )
    )
    raw = [row | {"day": f"2019-01-01T00:{5 * k:02d}:00Z"} for k, row in enumerate(rows())]
    tables, document = contracted(model, text_table(raw))
    result = assemble(model, tables, contract=document)
    assert result.dataset.column("f").to_pylist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert result.dataset.column("_time").type == pa.date32()
    assert tables["main"].column("day").type == UTC


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no length": ({"features": {"n": {"kind": "window", "function": "count"}}}, "got 0 of them"),
    "two lengths": (
        {"features": {"n": {"kind": "window", "function": "count", "days": 1, "hours": 2}}},
        "got 2 of them",
    ),
    "a sum of rows": ({"features": {"n": {"kind": "window", "function": "sum", "days": 1}}}, "needs a 'column'"),
    "events of no table": ({"table": None}, "needs table"),
    "expressions with a table": (
        {"features": {"n": {"kind": "on_demand", "expression": "request.x"}}},
        "reads no table",
    ),
    "known twice": ({"known_at": "day"}, "give one of them"),
    "a feature called request": (
        {"features": {"request": {"kind": "column", "column": "x"}}},
        "is not called 'request'",
    ),
    "hours by day": ({"known_delay": {"hours": 5}}, "in whole days"),
    "a tile of rows": (
        {"tile": {"days": 1}, "features": {"n": {"kind": "column", "column": "x"}}},
        "a tile holds no rows",
    ),
    "a tile of versions": ({"tile": {"days": 1}, "event_key": "id"}, "exclude one another"),
    "a window of parts of tiles": ({"tile": {"days": 7}}, "no whole number of tiles"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_declarations_that_contradict_themselves(sentence: str) -> None:
    made, message = BAD[sentence]
    with pytest.raises(ValidationError, match=message):
        FeatureView.model_validate(VIEW | made)
