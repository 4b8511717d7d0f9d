"""An outcome that cannot be one of its model is refused where it comes in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import ServingError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import iso
from tests.features.specs import spec
from tests.serving.releases import PD_CONTRACT, PD_FEATURES, ReleaseBank, pd_spec, requests
from tests.serving.servers import Server, serving

ROW = requests(pd_spec(), 1, seed=4)[0]


@pytest.fixture(scope="module")
def amounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A service of a model of events, of one of amounts, and of one whose release is not served any more."""
    folder = tmp_path_factory.mktemp("outcomes")
    bank = ReleaseBank(folder / "releases")
    bank.release("toy_pd@v1.0.0")
    loss = spec(
        {
            "name": "toy_lgd",
            "kind": "lgd",
            "version": "1.0.0",
            "=contract": PD_CONTRACT,
            "=data": {"time": "day", "entity": "customer"},
            "=features": PD_FEATURES,
        }
    )
    bank.release("toy_lgd@v1.0.0", model=loss)
    bank.release("gone_pd@v1.0.0")
    bank.bundle_file("gone_pd@v1.0.0").unlink()
    ledger = str(folder / "ledger")
    with serving(bank.folder, bank.trust_root, ledger=ledger) as server:
        yield server, ledger


def told(server: Server, model: str, **changes: Any) -> Any:
    known = {"model": model, "entity": "e1", "observed_at": "2026-01-01", "value": 1, "source": "core"}
    return server.call("POST", "/v1/outcomes", known | changes)


def in_days(days: float) -> str:
    return iso(datetime.now(UTC) + timedelta(days=days))


@pytest.mark.parametrize(
    ("model", "changes", "status", "words"),
    [
        ("toy_pd", {"value": 1}, 202, ""),
        ("toy_pd", {"value": 0.0}, 202, ""),
        ("toy_pd", {"value": 7.5}, 422, "value: 1 for the event or 0 for none is expected of model 'toy_pd'"),
        ("toy_pd", {"value": -1}, 422, "value: 1 for the event"),
        ("toy_pd", {"value": 0.5}, 422, "value: 1 for the event"),
        ("toy_lgd", {"value": 0.35}, 202, ""),
        ("toy_lgd", {"value": -0.01}, 202, ""),
        # Nobody here knows any more what the outcome of this one is.
        ("gone_pd", {"value": 0.35}, 202, ""),
        ("toy_pd", {"observed_at": "2999-01-01T00:00:00Z"}, 422, "observed_at: it lies in the future"),
        ("toy_lgd", {"observed_at": in_days(1.1)}, 422, "observed_at: it lies in the future"),
        ("toy_pd", {"observed_at": in_days(0.9)}, 202, ""),
        ("toy_pd", {"observed_at": "1899-12-31"}, 422, "observed_at: it lies before 1900"),
        ("toy_pd", {"observed_at": "0001-01-01T00:00:00+14:00"}, 422, "between the years 1 and 9999"),
        ("toy_pd", {"observed_at": "9999-12-31T23:59:59-12:00"}, 422, "between the years 1 and 9999"),
        ("toy_pd", {"observed_at": "0001-01-01"}, 422, "observed_at: it lies before 1900"),
    ],
)
def test_an_outcome_is_taken_if_it_can_be_one(
    amounts: tuple[Server, str], model: str, changes: dict[str, Any], status: int, words: str
) -> None:
    server, ledger = amounts
    with open_ledger(ledger) as book:
        before = sum(1 for _ in book.read(["outcome"]))
    answer = told(server, model, **changes)
    assert answer.status == status, answer.body
    if status == 422:
        assert words in answer.json["detail"]
    with open_ledger(ledger) as book:
        assert sum(1 for _ in book.read(["outcome"])) - before == (status == 202)


def test_a_decision_of_another_system_was_made_by_now(tmp_path: Path) -> None:
    ledger, source = str(tmp_path / "ledger"), tmp_path / "core.jsonl"
    one = {"id": "a1", "at": in_days(0.5), "model": "toy_pd", "system": "core", "decision": "approve"}
    for at, words in (
        (in_days(2), "'at': it lies in the future"),
        ("1066-10-14", "'at': it lies before 1900"),
        ("0001-01-01T00:00:00+14:00", "between the years 1 and 9999"),
    ):
        source.write_text(json.dumps(one) + "\n" + json.dumps(one | {"id": "a2", "at": at}) + "\n")
        done = CliRunner().invoke(app, ["ledger", "import", "--ledger", ledger, str(source)])
        assert isinstance(done.exception, ServingError)
        assert (done.exception.line, done.exception.what) == (2, "this line is no decision")
        assert words in str(done.exception.got)
    with open_ledger(ledger) as book:
        assert not book.chains()
    source.write_text(json.dumps(one))
    assert CliRunner().invoke(app, ["ledger", "import", "--ledger", ledger, str(source)]).exit_code == 0
    with open_ledger(ledger) as book:
        assert [msgspec.json.decode(entry.payload)["id"] for entry in book.read(["import"])] == ["a1"]
