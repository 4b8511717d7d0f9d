"""The input vector of a request: what the data set's row has, refused by field where the request breaks its contract."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.spec import ModelSpec
from countermark.contracts.instants import UTC
from countermark.errors import ConfigError, ContractError, FeatureStoreError
from countermark.features.inputs import model_inputs, view_columns
from countermark.features.intake import EventIntake
from countermark.features.online import open_store
from countermark.features.reading import FeatureRow
from countermark.features.request import RequestError
from countermark.features.vector import VectorBuilder
from tests.features.specs import spec

START = dt.datetime(2020, 3, 1, tzinfo=dt.UTC)
CHANGE: dict[str, Any] = {
    "source": {"time_zone": "Europe/Paris"},
    "=contract": {
        "name": "loans",
        "columns": {
            "id": {"type": "text"},
            "card": {"type": "integer", "minimum": 0},
            "at": {"type": "date"},
            "amount": {"type": "number", "minimum": 0.5, "maximum": 1000},
            "count": {"type": "integer", "nullable": True, "maximum": 9},
            "present": {"type": "boolean"},
            "size": {"type": "text", "allowed": ["S", "M", "L", "XL"]},
            "code": {"type": "integer", "nullable": True},
            "word": {"type": "text", "nullable": True, "pattern": "[a-z]+"},
            "born": {"type": "date", "nullable": True, "minimum": "1900-01-01", "maximum": "2010-12-31"},
            "y": {"type": "integer"},
        },
    },
    "=data": {"time": "at"},
    "feature_views": {
        "velocity": {
            "name": "velocity",
            "table": "main",
            "entity": "card",
            "event_time": "at",
            "known_delay": {"seconds": 1},
            "event_key": "id",
            "features": {
                "n": {"kind": "window", "function": "count", "days": 2},
                "spent": {"kind": "window", "column": "amount", "function": "sum", "days": 5, "filter": "present"},
                "last_word": {"kind": "column", "column": "word", "max_age": {"days": 3}},
                "was_present": {"kind": "column", "column": "present"},
                "last_count": {"kind": "column", "column": "count"},
                "ratio": {"kind": "on_demand", "expression": "request.amount / spent"},
            },
        },
        "clock": {
            "name": "clock",
            "features": {
                "hour": {"kind": "on_demand", "expression": "hour(request.at)"},
                "rush": {"kind": "on_demand", "expression": "hour > 7 and velocity.n >= 1"},
                "kind": {"kind": "on_demand", "expression": "'big' if velocity.ratio > 2 else coalesce(request.word, '-')"},
                "age": {"kind": "on_demand", "expression": "floor(seconds_between(request.born, request.at) / 31557600)"},
            },
        },
    },
    "=features": {
        "amount": {"meaning": "m"},
        "present": {"meaning": "m"},
        "size": {"meaning": "m", "levels": ["S", "M", "L"]},
        "code": {"meaning": "m", "type": "categorical"},
        "flag": {"meaning": "m", "type": "categorical", "source": "present"},
        "word": {"meaning": "m", "type": "categorical"},
        "n": {"meaning": "m", "source": "velocity.n"},
        "spent": {"meaning": "m", "source": "velocity.spent"},
        "last_word": {"meaning": "m", "type": "categorical", "source": "velocity.last_word"},
        "was_present": {"meaning": "m", "source": "velocity.was_present"},
        "last_count": {"meaning": "m", "type": "categorical", "source": "velocity.last_count"},
        "ratio": {"meaning": "m", "source": "velocity.ratio"},
        "hour": {"meaning": "m", "source": "clock.hour"},
        "rush": {"meaning": "m", "source": "clock.rush"},
        "kind": {"meaning": "m", "type": "categorical", "source": "clock.kind"},
        "age": {"meaning": "m", "source": "clock.age"},
    },
}  # fmt: skip
MODEL = spec(CHANGE)
COLUMNS = {
    "id": pa.string(), "card": pa.int64(), "at": UTC, "amount": pa.float64(), "count": pa.int64(), "present": pa.bool_(),
    "size": pa.string(), "code": pa.int64(), "word": pa.string(), "born": pa.date32(), "y": pa.int64(),
}  # fmt: skip

_TIME = st.integers(0, 9 * 24 * 60).map(lambda m: START + dt.timedelta(minutes=m))
_ROW = st.fixed_dictionaries(
    {
        "card": st.integers(0, 2),
        "at": _TIME,
        "amount": st.floats(0.5, 1000, width=32),
        "count": st.one_of(st.none(), st.integers(-3, 9)),
        "present": st.booleans(),
        "size": st.sampled_from(["S", "M", "L"]),
        "code": st.one_of(st.none(), st.integers(-2, 2)),
        "word": st.one_of(st.none(), st.sampled_from(["ab", "c"])),
        "born": st.one_of(st.none(), st.dates(dt.date(1900, 1, 1), dt.date(2010, 12, 31))),
        "y": st.integers(0, 1),
    }
)


def offline(model: ModelSpec, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Inputs as the data-set stage makes them."""
    main = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in COLUMNS.items()})
    inputs = model_inputs(model, main, view_columns(model, main, {"main": main}).columns)
    return pa.table(dict(inputs)).to_pylist()


def request_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in VectorBuilder(MODEL).fields if row[name] is not None}


@given(drawn=st.lists(_ROW, min_size=1, max_size=12))
def test_a_vector_is_the_row_of_the_data_set(
    drawn: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Columns that are null throughout are refused by the data set; the first row has every value.
    full = {"count": 1, "code": 1, "word": "ab", "born": dt.date(1980, 2, 29)}
    every = [
        {"card": 1, "at": START - dt.timedelta(hours=h), "amount": 2.0, "present": True, "size": "S", "y": 0, **full}
        for h in (9, 3)
    ]
    rows = [row | {"id": f"k{k}"} for k, row in enumerate(sorted(every + drawn, key=lambda row: row["at"]))]
    builder = VectorBuilder(MODEL)
    intake = EventIntake(MODEL)
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('v')}/f.sqlite")
    for plan in builder.plans:
        store.publish(plan, (), START - dt.timedelta(days=1))
    online = []
    for row in rows:
        vector, views = builder.build(request_of(row), store, row["at"])
        online.append(vector)
        assert [(view.view, view.version) for view in views] == [(p.name, p.version) for p in builder.plans]
        event = {name: row[name] for name in ("id", "card", "at", "amount", "present", "word", "count")}
        assert intake.ingest("main", event | {"at": row["at"].isoformat()}, store, row["at"]) == ("velocity",)
    store.close()
    expected = offline(MODEL, rows)
    assert online == expected
    for left, right in zip(online, expected, strict=True):
        assert list(left) == list(MODEL.features)
        assert [type(value) for value in left.values()] == [type(value) for value in right.values()]


GOOD = {"card": 1, "amount": 5.5, "present": False, "size": "L", "code": None, "word": "ab", "born": "1990-05-06"}


class Empty:
    """A store in which every view is published and nothing has happened."""

    def read(self, plan: Any, entity: Any, now: dt.datetime) -> Any:
        return FeatureRow(dict(plan.nothing), now, (), known=False)


def test_a_request_of_an_unknown_entity() -> None:
    vector, views = VectorBuilder(MODEL).build(GOOD, Empty(), START)  # type: ignore[arg-type]
    assert vector == {
        "amount": 5.5, "present": 0.0, "size": 2.0, "code": None, "flag": "false", "word": "ab", "n": 0.0, "spent": None,
        "last_word": None, "was_present": None, "last_count": None, "ratio": None, "hour": 1.0, "rush": 0.0,
        "kind": None, "age": 29.0,
    }  # fmt: skip
    assert views[0].as_of == "2020-03-01T00:00:00.000000Z"
    assert views[0].expired == ()
    assert views[0].unknown


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a field nobody asked for": ({"amuont": 5.5}, "amuont", "unknown"),
    "the time, which the service sets": ({"at": "2020-01-01T00:00:00Z"}, "at", "unknown"),
    "the outcome": ({"y": 1}, "y", "unknown"),
    "a field that is missing": ({"amount": ...}, "amount", "missing"),
    "null where there must be a value": ({"present": None}, "present", "missing"),
    "text for a number": ({"amount": "5.5"}, "amount", "type"),
    "a truth for a number": ({"amount": True}, "amount", "type"),
    "no number": ({"amount": math.nan}, "amount", "type"),
    "an infinite number": ({"amount": math.inf}, "amount", "type"),
    "a number that float64 cannot hold": ({"amount": 10**400}, "amount", "type"),
    "a fraction for a whole number": ({"card": 1.0}, "card", "type"),
    "a whole number beyond float64": ({"code": 2**60}, "code", "type"),
    "a number for text": ({"word": 7}, "word", "type"),
    "a number for a truth": ({"present": 0}, "present", "type"),
    "a day that is not": ({"born": "1990-02-30"}, "born", "type"),
    "below the contract's range": ({"amount": 0.25}, "amount", "minimum"),
    "above the contract's range": ({"amount": 1000.5}, "amount", "maximum"),
    "a date outside its range": ({"born": "2011-01-01"}, "born", "maximum"),
    "text that is not allowed": ({"size": "XXL"}, "size", "allowed"),
    "a level without a place": ({"size": "XL"}, "size", "levels"),
    "text of another pattern": ({"word": "ab1"}, "word", "pattern"),
    "a list": ({"word": ["ab"]}, "word", "type"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_what_is_refused_names_the_field_and_not_the_value(sentence: str) -> None:
    change, field, rule = BAD[sentence]
    request = {name: value for name, value in (GOOD | change).items() if value is not ...}
    with pytest.raises(RequestError) as caught:
        VectorBuilder(MODEL).build(request, Empty(), START)  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert (problem.field, problem.rule) == (field, rule)
    assert isinstance(caught.value, ContractError)
    assert f"field '{field}' of a request to 'test_pd' is refused: {rule}" in str(caught.value)
    assert problem.expected
    for value in change.values():
        assert value in (None, ..., 1, 0, True) or repr(value) not in str(caught.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(RequestError, match="and 2 more") as caught:
        VectorBuilder(MODEL).build(GOOD | {"amount": "x", "size": 1, "sise": "S"}, Empty(), START)  # type: ignore[arg-type]
    assert [(p.field, p.rule, p.hint) for p in caught.value.problems] == [
        ("amount", "type", None), ("size", "type", None), ("sise", "unknown", "did you mean 'size'?"),
    ]  # fmt: skip


def test_a_model_without_views_needs_no_store() -> None:
    builder = VectorBuilder(spec())
    assert (builder.plans, builder.fields, builder.time_field) == ((), ("x", "g"), "day")
    assert builder.build({"g": "b"}, None, START) == ({"x": None, "grade": "b"}, ())


def test_a_model_with_views_does() -> None:
    with pytest.raises(FeatureStoreError, match="reads feature view 'velocity', and there is no feature store"):
        VectorBuilder(MODEL).build(GOOD, None, START)


def test_specs_that_no_request_can_satisfy() -> None:
    with pytest.raises(ConfigError, match="has no contract for table 'gone'"):
        VectorBuilder(spec({"data": {"table": "gone"}}))
    with pytest.raises(ConfigError, match="columns that its contract does not promise"):
        VectorBuilder(spec({"features": {"z": {"meaning": "m"}}}))
    for how, word in (
        ({"source": "g"}, "numeric feature 'f' comes from a value of type text"),
        ({"source": "x", "type": "categorical"}, "categorical feature 'f' comes from a value of type number"),
        ({"source": "x", "levels": ["a"]}, "ordinal feature 'f' comes from a value of type number"),
        ({"source": "day"}, "numeric feature 'f' comes from a value of type date"),
    ):
        with pytest.raises(ConfigError, match=word):
            VectorBuilder(spec({"features": {"f": {"meaning": "m"} | how}}))


def test_an_event_feeds_the_views_that_it_brings_everything_for(tmp_path: Path) -> None:
    intake = EventIntake(MODEL)
    store = open_store(f"sqlite:///{tmp_path}/f.sqlite")
    assert intake.tables == ("main",)
    with pytest.raises(FeatureStoreError, match="no feature view reads events of this table"):
        intake.ingest("mian", {}, store, START)
    with pytest.raises(FeatureStoreError, match="an event of 'main' feeds no feature view"):
        intake.ingest("main", {"card": 1}, store, START)
    with pytest.raises(RequestError, match="field 'card' of an event of 'main' is refused: type"):
        intake.ingest("main", {"card": "1"}, store, START)
    with pytest.raises(RequestError, match="field 'crad' of an event of 'main' is refused: unknown"):
        intake.ingest("main", {"crad": 1}, store, START)
    store.close()
