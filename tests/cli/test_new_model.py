"""``countermark new model``: the kinds it offers, what it writes and says, and that a refusal writes nothing."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countermark.cli import scaffold
from countermark.cli.root import app
from countermark.config.load import load_model
from countermark.config.policy import ModelKind
from countermark.errors import CountermarkError
from tests.portfolio.strangers import BASE, Stranger, csv_text, every


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Stranger(tmp_path, BASE).root
    monkeypatch.chdir(root)
    return root


def new_model(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new", "model", *arguments])


def files(bank: Path) -> set[str]:
    return {path.relative_to(bank).as_posix() for path in (bank / "conf").rglob("*") if path.is_file()}


def test_every_kind_of_model_is_offered_and_no_other() -> None:
    (option,) = [p for p in scaffold.model.params if p.name == "kind"]
    assert tuple(typing.cast(Any, option.type).choices) == typing.get_args(ModelKind)


@pytest.mark.parametrize("kind", typing.get_args(ModelKind))
def test_every_kind_that_is_offered_gives_a_spec_that_composes(bank: Path, kind: str) -> None:
    amounts = BASE | {"default": [i % 97 / 97 for i in range(len(BASE["default"]))]}
    (bank / "amounts.csv").write_text(csv_text(amounts))
    data = "amounts.csv" if kind in ("lgd", "ead") else "odd.csv"
    done = new_model(f"my_{kind}", "--kind", kind, "--data", data, "--outcome", "default")
    assert done.exit_code == 0, done.output
    spec = load_model(bank, f"my_{kind}").spec
    assert spec.kind == kind
    assert spec.is_amount == (kind in ("lgd", "ead"))


def test_an_unknown_kind_is_answered_with_the_known_ones(bank: Path) -> None:
    done = new_model("m", "--kind", "dp", "--data", "odd.csv")
    assert done.exit_code == 2
    assert "'pd'" in done.output
    assert "conf/model/m.yaml" not in files(bank)


def test_what_was_written_and_asked_is_told(bank: Path) -> None:
    before = files(bank)
    done = new_model("fresh", "--kind", "pd", "--data", "odd.csv")
    written = files(bank) - before
    assert written == {f"conf/{g}/fresh.yaml" for g in ("model", "source", "contract", "decision", "monitor")} | {
        "conf/model/fresh.md"
    }
    for name in written:
        assert f"wrote {name}" in done.output
    assert "open questions, kept in conf/model/fresh.yaml:" in done.output
    assert "  ? is 'default' the outcome, and is '1' the event" in done.output
    assert "next: countermark plan fresh && countermark build fresh" in done.output
    head = (bank / "conf/model/fresh.yaml").read_text(encoding="utf-8")
    assert "# ? is 'default' the outcome" in head


def test_events_are_named_on_the_command_line(bank: Path) -> None:
    (bank / "codes.csv").write_text(csv_text(BASE | {"default": every(0, 1, 2, 3)}))
    done = new_model("codes", "--kind", "pd", "--data", "codes.csv", "--event", "3", "--event", "2")
    assert done.exit_code == 0, done.output
    outcome = load_model(bank, "codes").spec.outcome
    assert (outcome.positive, outcome.negative) == ((3, 2), (0, 1))


REFUSED: dict[str, tuple[dict[str, list[Any]], tuple[str, ...]]] = {
    "a constant outcome": ({"default": [1] * 300}, ("'default' does not vary", "1 value in 300 rows")),
    "an outcome of four values": ({"default": every(0, 1, 2, 3)}, ("more than two values", "--event")),
    "an outcome of holes and ones": ({"default": every(1, "")}, ("does not vary", "150 of them empty")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_writes_nothing(bank: Path, case: str) -> None:
    columns, says = REFUSED[case]
    (bank / "bad.csv").write_text(csv_text(BASE | columns))
    before = files(bank)
    done = new_model("bad", "--kind", "pd", "--data", "bad.csv")
    assert isinstance(done.exception, CountermarkError)
    assert done.exception.exit_code == 2
    for part in says:
        assert part in str(done.exception)
    assert files(bank) == before
