"""Guards: each named after what it keeps out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from countermark.errors import ConfigError, GuardError
from countermark.features.guards import Guard, copy_guards, declared_guards, overlap_guard, require
from tests.features.specs import spec

SEX = {
    "criterion": "c",
    "attributes": {"sex": {"column": "sex", "provenance": "p", "reference": "m", "groups": {"m": [1], "f": [2]}}},
}
STATEMENTS: dict[str, Any] = {
    "source": {
        "unpivot": [
            {
                "table": "months",
                "key": "id",
                "period_column": "month",
                "periods": ["2020-01-31"],
                "columns": {"status": ["sex"], "other": ["x"]},
            }
        ]
    },
    "feature_views": {
        "v": {
            "name": "v",
            "table": "months",
            "entity": "id",
            "event_time": "month",
            "features": {
                "last": {"kind": "column", "column": "status"},
                "fine": {"kind": "column", "column": "other"},
                "who": {"kind": "column", "column": "id"},
            },
        }
    },
}

KEPT_OUT: dict[str, tuple[dict[str, Any], str, str]] = {
    "a protected attribute by its own name": (
        {"fairness": SEX, "features": {"sex": {"meaning": "m"}}},
        "protected_input",
        "input 'sex' comes from 'sex', a protected attribute",
    ),
    "a protected attribute under another feature name": (
        {"fairness": SEX, "features": {"code7": {"meaning": "m", "source": "sex"}}},
        "protected_input",
        "input 'code7' comes from 'sex'",
    ),
    "a protected attribute renamed in the source": (
        {
            "fairness": {**SEX, "attributes": {"sex": {**SEX["attributes"]["sex"], "column": "SEX"}}},  # type: ignore[index]
            "source": {"rename": {"SEX": "x2"}},
            "features": {"x2": {"meaning": "m"}},
        },
        "protected_input",
        "input 'x2' comes from 'SEX'",
    ),
    "a protected attribute unpivoted into a feature view": (
        {"fairness": SEX, **STATEMENTS, "features": {"calm": {"meaning": "m", "source": "v.last"}}},
        "protected_input",
        "input 'calm' comes from 'sex'",
    ),
    "the outcome": ({"features": {"z": {"meaning": "m", "source": "y"}}}, "outcome_input", "the outcome"),
    "a declared leak": ({"features": {"late": {"meaning": "m"}}}, "leak_input", "a declared leak"),
    "the row key": ({"features": {"id": {"meaning": "m"}}}, "identifier_input", "an identifier"),
    "the key of a feature view": (
        {**STATEMENTS, "features": {"who": {"meaning": "m", "source": "v.who"}}},
        "identifier_input",
        "an identifier",
    ),
    "a restricted feature": ({"features": {"x": {"restricted": True}}}, "restricted_input", "declared restricted"),
}


@pytest.mark.parametrize("sentence", KEPT_OUT)
def test_what_is_kept_out(sentence: str) -> None:
    change, name, reason = KEPT_OUT[sentence]
    guards = declared_guards(spec(change))
    assert [guard.name for guard in guards if guard.passed is False] == [name]
    with pytest.raises(GuardError, match=f"guard '{name}': .*{reason}") as caught:
        require(guards)
    assert caught.value.hint is not None


def test_what_may_come_in() -> None:
    change = {"fairness": SEX, **STATEMENTS, "features": {"ok": {"meaning": "m", "source": "v.fine"}}}
    assert all(guard.passed for guard in require(declared_guards(spec(change))))


def test_no_guards_prove_nothing() -> None:
    with pytest.raises(GuardError, match="no guard was evaluated"):
        require([])


def test_a_guard_that_was_not_evaluated_does_not_stop_and_does_not_pass() -> None:
    (guard,) = require([Guard("g", None, "not evaluated: no dates")])
    assert guard.as_json() == {"name": "g", "passed": None, "detail": "not evaluated: no dates"}


def test_a_feature_that_its_view_does_not_have() -> None:
    with pytest.raises(ConfigError, match="asks view 'v' for 'nope'"):
        declared_guards(spec({**STATEMENTS, "features": {"f": {"meaning": "m", "source": "v.nope"}}}))


def column(values: list[Any]) -> pa.ChunkedArray:
    return pa.chunked_array([values])


def test_copies_are_found_value_for_value() -> None:
    y = [i % 2 for i in range(60)]
    age = [20 + i % 7 for i in range(60)]
    inputs = {
        "flag": column(["no" if v == 0 else "yes" for v in y]),
        "months": column([float(12 * a) for a in age]),
        "unique": column([float(i) for i in range(60)]),
        "coarse": column([a // 2 for a in age]),
        "constant": column([1.0] * 60),
    }
    guards = {g.name: g for g in copy_guards(inputs, column(y), {"age": column(age), "score": column(list(range(60)))})}
    assert guards["outcome_copy"].detail == "input 'flag' is one to one with the outcome"
    assert guards["protected_copy"].detail == "input 'months' is one to one with protected attribute 'age'"
    with pytest.raises(GuardError):
        require([guards["protected_copy"]])


def test_few_rows_cannot_show_a_copy() -> None:
    guards = copy_guards({"a": column([0, 1])}, column([0, 1]), {})
    assert [guard.passed for guard in guards] == [None, None]


def test_an_entity_on_both_sides() -> None:
    guard, both = overlap_guard(
        ["a", "b", "a", None, None], ["development", "holdout", "out_of_time", "holdout", "calibration"]
    )
    assert (guard.passed, both) == (False, 1)
    assert "1 entities" in guard.detail
    guard, both = overlap_guard(["a", "a", "b"], ["development", "calibration", "holdout"])
    assert (guard.passed, both) == (True, 0)
    assert overlap_guard(None, ["holdout"])[1] is None
