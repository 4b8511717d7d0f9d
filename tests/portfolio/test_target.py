"""Which column is the outcome and which of its values are events: proposed with a question, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from countermark.errors import ConfigError
from tests.portfolio.strangers import BASE, INCOME, N, Stranger, every

# Values of 'default', what is asked of the command, (positive, negative, unresolved) of the spec, rows and events of
# the data set, and a question.
Case = tuple[list[Any], dict[str, Any], tuple[Any, Any, tuple[Any, ...]], tuple[int, int], str]

TARGETS: dict[str, Case] = {
    "one and zero": (every(0, 0, 1), {}, (1, 0, ()), (300, 100), "is 'default' the outcome, and is '1' the event (100 of 300 rows, 33.3 %)?"),
    "yes and no": (every("no", "yes"), {}, ("yes", "no", ()), (300, 150), "is 'yes' the event"),
    "Y and N": (every("Y", "N"), {}, ("Y", "N", ()), (300, 150), "is 'Y' the event"),
    "good and bad, bad commoner": (every("bad", "bad", "good"), {}, ("bad", "good", ()), (300, 200), "most rows are events"),
    "truth values of two spellings": (every("TRUE", "False", "false"), {}, (True, False, ()), (300, 100), "is 'True' the event"),
    "one and two": (every(1, 2, 1), {}, (2, 1, ()), (300, 100), "'2' the event (100 of 300 rows, 33.3 %)? The rarer value was taken."),
    "unknown words": (every("paid", "gone", "paid"), {}, ("gone", "paid", ()), (300, 100), "The rarer value was taken."),
    "decimals": (every("0.0", "1.0"), {}, (1, 0, ()), (300, 150), "is '1' the event"),
    "spellings of two words": (
        every("Yes", "no", "YES", "No", "no "), {}, (("YES", "Yes"), ("no", "No"), ()), (300, 120),
        "Values that differ only in case or blanks are taken as one.",
    ),
    "missing ones": (
        every("1", "0", ""), {}, (1, 0, (None,)), (200, 100),
        "'default' has no value in 100 of 300 rows, 33.3 %: such rows are left out and counted",
    ),
    "a word for missing": (every("good", "bad", "NA"), {}, ("bad", "good", (None,)), (200, 100), "has no value in 100 of 300 rows"),
    "states of a loan": (
        every("Fully Paid", "Charged Off", "Current", "Default", "Fully Paid", "Late (31-120 days)"), {},
        (("Charged Off", "Default"), "Fully Paid", ("Current", "Late (31-120 days)")), (200, 100),
        "'Current', 'Late (31-120 days)' of 'default' (100 of 300 rows, 33.3 %) is taken as not resolved",
    ),
    "an event that was named": (
        every(0, 1, 2, 3), {"events": ("3", "2")}, ((3, 2), (0, 1), ()), (300, 150), "Every other value ('0', '1') is taken as none.",
    ),
    "the other one": (every(0, 0, 1), {"events": ("0",)}, (0, 1, ()), (300, 200), "is '0' the event"),
    "few events": ([int(i % 30 == 0) for i in range(N)], {}, (1, 0, ()), (300, 10), "only 10 rows with an event"),
}  # fmt: skip


@pytest.mark.parametrize("case", TARGETS)
def test_events_are_proposed_and_the_data_set_has_them(tmp_path: Path, case: str) -> None:
    values, asked, declared, (rows, events), question = TARGETS[case]
    stranger = Stranger(tmp_path, BASE | {"default": values})
    spec, _, dataset = stranger.dataset(**asked)
    outcome = spec.outcome
    assert (outcome.positive, outcome.negative, outcome.unresolved) == declared
    assert [type(v) for v in outcome.events] == [
        type(v) for v in (declared[0] if isinstance(declared[0], tuple) else declared[:1])
    ]
    labels = dataset.column("_y").to_pylist()
    assert (len(labels), sum(labels)) == (rows, events)
    assert stranger.asks(question), stranger.questions
    assert "default" not in spec.features
    assert spec.decision_policy.cutoff == pytest.approx(events / rows, abs=5e-4)


REFUSED: dict[str, tuple[dict[str, list[Any]], dict[str, Any], tuple[str, ...]]] = {
    "a constant": ({"default": [0] * N}, {}, ("the outcome 'default' does not vary", "1 value in 300 rows", "--outcome COLUMN")),
    "a constant that was named": ({"flag": ["x"] * N}, {"outcome": "flag"}, ("the outcome 'flag' does not vary",)),
    "ones and holes": (
        {"default": every(1, "", "")}, {},
        ("the outcome 'default' does not vary", "1 value in 300 rows, 200 of them empty", "if an empty cell means that nothing happened"),
    ),
    "nothing but holes": ({"default": [""] * N}, {}, ("does not vary", "no value in 300 rows")),
    "codes": (
        {"default": every(0, 1, 2, 3)}, {},
        ("more than two values", "4 values: '0', '1', '2', '3'", "--event '3'", "kind pd"),
    ),
    "words": ({"default": every("low", "mid", "high")}, {}, ("3 values: 'high', 'low', 'mid'",)),
    "an amount": ({"default": INCOME}, {}, ("different numbers in 300 rows", "--outcome COLUMN", "kind lgd or ead")),
    "free text": ({"default": [f"a {i}" for i in range(N)]}, {}, ("300 different values in 300 rows",)),
    "an event that never happens": ({"default": every(0, 1)}, {"events": ("maybe",)}, ("never has the value 'maybe'", "'0', '1'")),
    "an event of an amount that never happens": (
        {"default": INCOME}, {"events": ("maybe",)}, ("never has the value 'maybe'", "one of "),
    ),
    "nothing but events": ({"default": every(0, 1)}, {"events": ("0", "1")}, ("every value of the outcome is called an event",)),
    "no such column": ({"default": every(0, 1)}, {"outcome": "nope"}, ("the file has no column 'nope'", "id, income")),
    "a loss in per cent": ({"lgd": list(INCOME)}, {"kind": "lgd"}, ("is no share of the exposure", "divide per cent by 100")),
    "a loss in words": ({"lgd": every("high", "low")}, {"kind": "lgd"}, ("the outcome 'lgd' is no number", "type text")),
    "an event of a loss": ({"lgd": every(0.1, 0.2)}, {"kind": "lgd", "events": ("1",)}, ("a model of kind 'lgd' has no event",)),
    "no loss in sight": ({"default": every(0, 1)}, {"kind": "lgd"}, ("no column looks like the outcome", "named like 'lgd'")),
    "a constant exposure": ({"EAD": [5] * N}, {"kind": "ead"}, ("the outcome 'EAD' does not vary",)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_outcome_that_nobody_can_tell_is_refused_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    columns, asked, says = REFUSED[case]
    kept = {name: values for name, values in BASE.items() if name != "default"}
    stranger = Stranger(tmp_path, kept | columns)
    with pytest.raises(ConfigError) as caught:
        stranger.scaffold(**asked)
    for part in says:
        assert part in str(caught.value)


def test_values_of_other_columns_are_never_told(tmp_path: Path) -> None:
    secret = {"surname": [f"Muster{i % 3}" for i in range(N)], "default": every(0, 1, 2)}
    with pytest.raises(ConfigError) as caught:
        Stranger(tmp_path, BASE | secret).scaffold()
    assert "Muster" not in str(caught.value)
    stranger = Stranger(tmp_path, BASE | secret | {"default": every(0, 1)})
    stranger.spec()
    assert not stranger.asks("Muster")


@pytest.mark.parametrize(("kind", "column"), [("lgd", "LGD"), ("ead", "ead"), ("ead", "CCF")])
def test_an_amount_gets_a_numeric_target_and_learners_that_fit(tmp_path: Path, kind: str, column: str) -> None:
    kept = {name: values for name, values in BASE.items() if name != "default"}
    losses = ["" if i % 10 == 0 else f"{(i % 97) / 97:.3f}" for i in range(N)]
    stranger = Stranger(tmp_path, kept | {column: losses, "sex": every("f", "m")})
    spec, _, dataset = stranger.dataset(kind=kind)
    assert (spec.kind, spec.outcome.column, spec.outcome.unresolved) == (kind, column.lower(), (None,))
    assert spec.decision is None
    assert not spec.purpose.can_decline
    assert spec.tuning is not None
    assert spec.tuning.metric == "rmse"
    assert spec.calibration.method == "none"
    assert spec.challenger is not None
    assert spec.challenger.learner.kind == "logistic"
    assert "sex" not in spec.features
    labels = dataset.column("_y").to_pylist()
    assert len(labels) == 270
    assert sum(labels) == pytest.approx(sum(float(v) for v in losses if v))
    assert stranger.asks(f"is '{column}' the outcome, ")
    assert "conf/decision/odd.yaml" not in stranger.scaffold(kind=kind, name="other").files


def test_two_amounts_may_be_an_event(tmp_path: Path) -> None:
    stranger = Stranger(tmp_path, BASE | {"lgd": every(0, 1)})
    stranger.spec(kind="lgd")
    assert stranger.asks("takes two values only: is it an event")


def test_too_few_events_are_not_tuned_on(tmp_path: Path) -> None:
    stranger = Stranger(tmp_path, BASE | {"default": [int(i % 30 == 0) for i in range(N)]})
    assert stranger.spec().tuning is None
    assert stranger.asks("too few rows of a class to tune on")
