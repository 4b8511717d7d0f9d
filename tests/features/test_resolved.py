"""Outcomes of several values, and rows whose outcome is not resolved: left out, counted, never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from countermark.config.spec import Outcome
from countermark.errors import CountermarkError, GuardError
from countermark.features.dataset import DatasetResult, assemble
from tests.features.specs import ROWS, contracted, spec, text_table

LABELS = ["Charged Off", "Fully Paid", "Current", "Default", None, "Fully Paid"]


def build(labels: list[Any], outcome: dict[str, Any], kind: str = "text") -> DatasetResult:
    rows = [ROWS[k % 4] | {"id": f"k{k}", "y": label} for k, label in enumerate(labels)]
    model = spec({"outcome": outcome, "contract": {"columns": {"y": {"type": kind, "nullable": True}}}})
    tables, document = contracted(model, text_table(rows))
    return assemble(model, tables, contract=document)


def test_several_values_are_an_event_and_unresolved_rows_are_counted() -> None:
    result = build(
        LABELS,
        {"positive": ["Charged Off", "Default"], "negative": "Fully Paid", "unresolved": ["Current", None]},
    )
    assert result.dataset.column("_key").to_pylist() == ["k0", "k1", "k3", "k5"]
    assert result.dataset.column("_y").to_pylist() == [1, 0, 1, 0]
    assert result.protected.column("_key").to_pylist() == ["k0", "k1", "k3", "k5"]
    assert result.report["waterfall"][2] == {
        "step": "resolved outcomes", "rows": 4, "dropped": 2, "reason": "outcome missing or not resolved",
    }  # fmt: skip
    assert result.report["maturity"]["n"] == 4


def test_nothing_declared_unresolved_is_no_step_of_the_waterfall() -> None:
    result = build(["1", "0"], {}, "integer")
    assert [step["step"] for step in result.report["waterfall"]] == ["source rows", "contract kept"]


def test_missing_alone_and_numbers_are_left_out_too() -> None:
    assert build(["1", None, "0"], {"unresolved": [None]}, "integer").dataset.column("_y").to_pylist() == [1, 0]
    found = build(["3", "9", "0", "1"], {"positive": 3, "negative": [0, 1], "unresolved": [9]}, "integer")
    assert found.dataset.column("_y").to_pylist() == [1, 0, 0]


REFUSED: dict[str, tuple[list[Any], dict[str, Any], str, str]] = {
    "a missing one that nobody declared": (["1", None], {}, "integer", "unresolved: [null]"),
    "a value that nobody declared": (["1", "0", "7"], {}, "integer", "1 or 0"),
    "one of several events that nobody declared": (
        ["a", "b", "z"], {"positive": ["a", "c"], "negative": "b"}, "text", "'a' or 'c' or 'b'",
    ),
    "an empty class": (["a", "a"], {"positive": ["b", "c"], "negative": "a"}, "text", "positive is 'b' or 'c'"),
    "no row left": (["z", None], {"unresolved": ["z", None]}, "text", "resolved in no row"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_neither_is_refused(case: str) -> None:
    labels, outcome, kind, says = REFUSED[case]
    with pytest.raises(CountermarkError) as caught:
        build(labels, outcome, kind)
    assert isinstance(caught.value, GuardError)
    assert says in str(caught.value)


def test_a_value_cannot_be_resolved_and_not() -> None:
    plain: dict[str, Any] = {"column": "y", "definition": "d", "maturity": {"basis": "none"}}
    with pytest.raises(ValidationError, match="Current is"):
        Outcome.model_validate(plain | {"positive": ["Bad", "Current"], "unresolved": ["Current"]})
    with pytest.raises(ValidationError):
        Outcome.model_validate(plain | {"positive": []})
    one = Outcome.model_validate(plain)
    assert (one.events, one.non_events, one.unresolved) == ((1,), (0,), ())
