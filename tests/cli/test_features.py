"""The commands of feature views, in a bank whose accepted table was made by hand; the manual's own lines run here."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner, Result

from countermark.cli.root import app
from countermark.config.feature_view import FeatureView
from countermark.config.spec import ModelSpec
from countermark.contracts.instants import UTC
from countermark.contracts.tables import write_table
from countermark.errors import FeatureStoreError, StaleError
from countermark.features.definitions import compile_view
from countermark.features.intake import EventIntake
from countermark.features.on_demand import FUNCTIONS
from countermark.features.online import open_store
from countermark.features.plans import model_views
from countermark.features.vector import VectorBuilder
from countermark.ledger import open_ledger
from countermark.portfolio.checked import load_checked
from countermark.records.clock import iso
from countermark.records.decision import EventRecord, encode
from tests.features.test_audit import decided

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "features.md").read_text("utf-8")
VIEWS = ("card_fraud_history", "card_velocity", "store_fraud_history", "store_velocity")


def transactions(rows: int = 400) -> pa.Table:
    """A small table as the contract stage accepts it."""
    rng = np.random.default_rng(3)
    start = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
    card = rng.integers(0, 20, rows)
    card[0] = 4711
    return pa.table(
        {
            "id": np.arange(rows),
            "card_id": card,
            "store_id": rng.integers(0, 9, rows),
            "datetime": pa.array([start + dt.timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 290_000, rows))], UTC),
            "amount": rng.integers(1, 100_000, rows),
            "customer_present": rng.random(rows) < 0.5,
            "fraud": rng.random(rows) < 0.2,
            "provider": ["Maestro"] * rows,
            "lat": rng.uniform(-50, 50, rows),
            "lng": rng.uniform(-100, 100, rows),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_checked(ROOT, "card_fraud").spec


@pytest.fixture
def bank(tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    folder = tmp_path / "models" / "card_fraud"
    (folder / "out" / "accepted").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump({"spec": spec.model_dump(mode="json")}, sort_keys=False))
    write_table(folder / "out" / "accepted" / "main.parquet", transactions())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["features", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_lines_of_the_manual_run(bank: Path) -> None:
    (block,) = re.findall(r"^```text\n(countermark features .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.split()[2:] for line in block.splitlines()]
    assert [line[0] for line in lines] == ["materialize", "verify", "show"]
    made, checked, shown = (run(*line) for line in lines)
    assert re.findall(r"^(\w+) [0-9a-f]{12}: [\d,]+ entities$", made.output, re.MULTILINE) == sorted(
        VIEWS, key=made.output.index
    )
    assert "published 4 views as of 2019-07-01T00:00:00.000000Z" in made.output
    assert checked.output.count("all equal") == 4
    assert shown.output.startswith("card_velocity ")
    assert re.search(r"lat_last +missing, too old", shown.output)
    assert (bank / ".countermark" / "features.sqlite").is_file()


def test_one_view_by_name_as_json(bank: Path) -> None:
    url = f"sqlite:///{bank}/elsewhere.sqlite"
    (made,) = json.loads(run("materialize", "store_velocity", "--as-of", "2019-07-01", "--to", url, "--json").output)
    assert (made["view"], made["entities"], made["as_of"]) == ("store_velocity", 9, "2019-07-01T00:00:00.000000Z")
    (checked,) = json.loads(run("verify", "store_velocity", "--store", url, "--sample", "4", "--json").output)
    assert checked == {"view": "store_velocity", "as_of": made["as_of"], "entities": 3, "moved_on": 0, "differing": {}}
    shown = json.loads(run("show", "store_velocity", "3", "--at", "2019-07-01", "--store", url, "--json").output)
    assert shown["version"] == made["version"]
    assert shown["values"]["n_30d"] > 0


def test_a_store_that_differs_is_found(bank: Path, spec: ModelSpec) -> None:
    run("materialize", "card_velocity", "--as-of", "2019-07-01")
    plan = model_views(spec).plans["card_velocity"]
    store = open_store(f"sqlite:///{bank}/.countermark/features.sqlite")
    moment = dt.datetime(2019, 6, 30, 23, 50, tzinfo=dt.UTC)
    event: dict[str, Any] = {
        "card_id": 3,
        "datetime": moment,
        "id": 9999,
        "customer_present": True,
        "amount": 1,
        "lat": 0.0,
        "lng": 0.0,
    }
    store.ingest(plan, event, moment)
    store.close()
    with pytest.raises(FeatureStoreError, match="the online store does not give what the tables give") as caught:
        run("verify", "card_velocity")
    assert "card_velocity" in (caught.value.got or "")


def test_what_arrived_later_is_no_difference_but_told(bank: Path, spec: ModelSpec) -> None:
    run("materialize", "card_velocity", "--as-of", "2019-07-01")
    plan = model_views(spec).plans["card_velocity"]
    store = open_store(f"sqlite:///{bank}/.countermark/features.sqlite")
    moment = dt.datetime(2019, 7, 2, tzinfo=dt.UTC)
    event = {
        "card_id": 3,
        "datetime": moment,
        "id": 9999,
        "customer_present": True,
        "amount": 1,
        "lat": 0.0,
        "lng": 0.0,
    }
    store.ingest(plan, event, moment)
    store.close()
    assert "all equal, 1 have moved on" in run("verify", "card_velocity").output


def test_what_cannot_be_done_is_told(bank: Path) -> None:
    with pytest.raises(FeatureStoreError, match="no compiled model reads a feature view 'card_velocty'") as caught:
        run("materialize", "card_velocty")
    assert caught.value.hint == "did you mean 'card_velocity'?"
    with pytest.raises(FeatureStoreError, match="feature view 'card_velocity' is not in the feature store"):
        run("show", "card_velocity", "1")
    assert run("materialize", "--as-of", "yesterday").exit_code == 2
    (bank / "models" / "card_fraud" / "out" / "accepted" / "main.parquet").unlink()
    with pytest.raises(FeatureStoreError, match="the events of feature view") as caught:
        run("materialize")
    assert caught.value.hint == "run 'countermark build card_fraud'"
    shutil.rmtree(bank / "models")
    with pytest.raises((FeatureStoreError, StaleError)):
        run("verify", "card_velocity")


def test_an_audit_of_logged_vectors(bank: Path, spec: ModelSpec) -> None:
    built = dt.datetime(2019, 6, 1, tzinfo=dt.UTC)
    run("materialize", "--as-of", "2019-06-01")
    store = open_store(f"sqlite:///{bank}/.countermark/features.sqlite")
    builder, intake = VectorBuilder(spec), EventIntake(spec)
    later = [row for row in transactions().to_pylist() if row["datetime"] > built]
    assert len(later) > 50
    with open_ledger(str(bank / "ledger")) as ledger:
        for k, row in enumerate(later):
            at = row["datetime"]
            record = decided(k, at, {name: row[name] for name in builder.fields}, store, spec)
            ledger.append("decision", record.id, encode(record), record.at)
            # The transaction is reported at once, and its label a month later as a second version of it.
            told = {name: row[name] for name in row if name != "fraud"} | {"datetime": iso(at)}
            for event in (told, told | {"fraud": row["fraud"]})[: 1 + k % 2]:
                intake.ingest("main", event, store, at)
                name = f"t{k}{'' if event is told else ' judged'}"
                ledger.append("event", name, encode(EventRecord(table="main", event=event, known_at=iso(at))), iso(at))
    store.close()
    honest = run("audit", "card_fraud", "--built-as-of", "2019-06-01").output
    values = len(later) * len(spec.features)
    assert honest == f"{len(later)} decisions, {values:,} values: {values:,} equal to the last bit\n"
    with pytest.raises(FeatureStoreError, match="vectors that decided are not what the event log gives"):
        run("audit", "card_fraud", "--json")  # without the history that the store was built from


def test_the_view_of_the_manual_is_one() -> None:
    (text,) = re.findall(r"```yaml feature_view\n(.*?)```", PAGE, re.DOTALL)
    view = FeatureView.model_validate(yaml.safe_load(text))
    types = {"card_id": "integer", "paid_at": "date", "id": "text", "amount": "number", "country": "text"}
    assert compile_view(view, types, time_zone="UTC").filters  # type: ignore[arg-type]


def test_every_function_and_kind_is_in_the_manual() -> None:
    for word in (
        *FUNCTIONS,
        "column",
        "window",
        "on_demand",
        "count",
        "sum",
        "mean",
        "last",
        "time_since",
        "known_delay",
    ):
        assert f"`{word}`" in PAGE, word


def test_the_corrected_probabilities_of_the_narrative() -> None:
    text = (ROOT / "conf" / "model" / "card_fraud.md").read_text("utf-8")
    rows = re.findall(r"^\| (0\.\d+) \| (0\.\d+) \| (0\.\d+) \|$", text, re.MULTILINE)
    assert len(rows) == 4

    def corrected(p: float, rate: float, share: float = 0.1518) -> float:
        k = (rate / (1 - rate)) / (share / (1 - share))
        return p * k / (p * k + 1 - p)

    for p, percent, permille in rows:
        assert (f"{corrected(float(p), 0.01):.4f}", f"{corrected(float(p), 0.001):.4f}") == (percent, permille)
    assert f"{1 / corrected(0.5, 0.001):.0f}" in text
    assert abs(corrected(0.994, 0.001) - 0.5) < 0.02
