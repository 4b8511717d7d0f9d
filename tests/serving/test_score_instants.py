"""Files as of an instant, by a named release, and beside a rollout: nothing is dated, chosen or lost in silence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import app
from countermark.errors import CountermarkError, LedgerError, RegistryError, ServingError
from countermark.features.online import open_store
from countermark.features.vector import VectorBuilder
from countermark.ledger.opening import open_ledger
from countermark.ledger.sqlite import SqliteLedger
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord, decode, encode
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.replay.decision_file import _route
from tests.serving.releases import ReleaseBank, fraud_spec, publish_empty

AT = "2026-03-01T09:00:00.000000Z"
PAST = "2026-03-01T10:00Z"
CASES = 20


@pytest.fixture
def own_bank(tmp_path: Path) -> ReleaseBank:
    return ReleaseBank(tmp_path / "releases")


class Desk:
    """Somebody who scores one file again and again."""

    def __init__(self, bank: ReleaseBank, folder: Path) -> None:
        self.bank, self.folder, self.ledger = bank, folder, folder / "ledger"
        self.source = folder / "in.csv"
        self.source.write_text("case,age,income\n" + "".join(f"n{k},44,{1000 + k}\n" for k in range(CASES)))

    def score(self, release: str, *more: str, ids: bool = True) -> Result:
        where = ["--releases", str(self.bank.folder), "--trust-root", self.bank.trust_root]
        files = ["--input", str(self.source), "--output", str(self.folder / "out.jsonl"), "--ledger", str(self.ledger)]
        done = CliRunner().invoke(
            app, ["score", "--release", release, *where, *files, *(["--id", "case"] if ids else []), *more]
        )
        if isinstance(done.exception, CountermarkError):
            raise done.exception
        return done

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_text().splitlines()]

    def entries(self, kind: str) -> list[Any]:
        if not self.ledger.exists():
            return []
        with open_ledger(self.ledger) as book:
            return list(book.read([kind]))

    def route(self, **planned: Any) -> None:
        table = RoutingTable(version=1, at=AT, models={"toy_pd": ModelRoute(**planned)})
        with open_ledger(self.ledger, writer="rollout") as book:
            book.append("routing", "routing", encode(table), AT)


@pytest.fixture
def desk(own_bank: ReleaseBank, tmp_path: Path) -> Desk:
    return Desk(own_bank, tmp_path)


def test_a_release_that_has_lapsed_decides_for_no_instant(desk: Desk) -> None:
    desk.bank.release("toy_pd@v1.0.0", expires="2026-03-20")
    for more in ((), ("--as-of", PAST)):
        with pytest.raises((RegistryError, ServingError), match=r"not served|may not be served"):
            desk.score("toy_pd@v1.0.0", *more)
    assert desk.entries("decision") == []


def test_an_instant_to_come_and_one_before_the_authorisation_are_refused(desk: Desk) -> None:
    desk.bank.release("toy_pd@v1.0.0")
    with pytest.raises(ServingError, match="not decided in advance"):
        desk.score("toy_pd@v1.0.0", "--as-of", "2099-01-01")
    with pytest.raises(ServingError, match="decides nothing before it was authorised"):
        desk.score("toy_pd@v1.0.0", "--as-of", "2025-06-30")
    assert desk.entries("decision") == []


@pytest.mark.parametrize("text", ["garbage", "2026-03-01T10:00:00"])
def test_what_is_no_instant_is_a_mistake_of_the_command(desk: Desk, text: str) -> None:
    desk.bank.release("toy_pd@v1.0.0")
    done = desk.score("toy_pd@v1.0.0", "--as-of", text)
    assert done.exit_code == 2
    assert "write 2026-12-04T14:00Z" in done.output


def test_the_ledger_says_when_a_decision_of_a_past_instant_was_written(desk: Desk) -> None:
    desk.bank.release("toy_pd@v1.0.0")
    before = iso(datetime.now(UTC))
    desk.score("toy_pd@v1.0.0", "--as-of", PAST)
    (entry, *_) = desk.entries("decision")
    assert decode(entry.payload, DecisionRecord).at == "2026-03-01T10:00:00.000000Z"
    assert before < entry.at < iso(datetime.now(UTC))


def test_an_entity_of_which_the_store_knows_more_than_was_known_then_is_not_decided(
    own_bank: ReleaseBank, tmp_path: Path
) -> None:
    own_bank.release("toy_fraud@v1.0.0")
    desk, then = Desk(own_bank, tmp_path), datetime(2026, 3, 1, 10, tzinfo=UTC)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    publish_empty(url, fraud_spec(), then - timedelta(days=1))
    store = open_store(url)
    (plan,) = VectorBuilder(fraud_spec()).plans
    late = then + timedelta(days=60)
    store.ingest(plan, {"id": "e1", "card": "k1", "at": late.isoformat(), "amount": 5.0}, late)
    store.close()
    desk.source.write_text("case,card,amount\na,k1,5.0\nb,k2,5.0\n")
    desk.score("toy_fraud@v1.0.0", "--as-of", PAST, "--features", url)
    one, other = desk.told()
    assert one["refused"] == (
        "velocity: the feature store no longer tells what was known of this entity at 2026-03-01T10:00:00.000000Z"
    )
    assert (other["refused"], [entry.key for entry in desk.entries("decision")]) == (None, ["b"])


def test_an_id_that_was_decided_by_another_release_or_as_of_another_instant_is_named(desk: Desk) -> None:
    for version in ("1.0.0", "2.0.0"):
        desk.bank.release(f"toy_pd@v{version}")
    desk.score("toy_pd@v1.0.0", "--as-of", PAST)
    assert "20 of them from before" in desk.score("toy_pd@v1.0.0", "--as-of", PAST).output
    assert "20 of them from before" in desk.score("toy_pd@v1.0.0").output, (
        "whoever names no instant takes what is there"
    )
    done = desk.score("toy_pd@v2.0.0", "--as-of", PAST)
    assert "decided 0, refused 20" in done.output
    assert {row["refused"] for row in desk.told()} == {"id: decided before by toy_pd@v1.0.0"}
    desk.score("toy_pd@v1.0.0", "--as-of", "2026-03-02T10:00Z")
    assert {row["refused"] for row in desk.told()} == {"id: decided before as of 2026-03-01T10:00:00.000000Z"}
    done = desk.score("toy_pd@v1.0.0", "--run", "second")
    assert done.exit_code == 2
    assert "--run makes new ids" in done.output
    assert len(desk.entries("decision")) == CASES


def test_a_release_that_was_turned_back_or_never_ramped_decides_nothing_by_being_named(desk: Desk) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        desk.bank.release(f"toy_pd@v{version}")
    desk.route(champion="2.0.0", fallbacks=("1.0.0",), candidate="3.0.0", share=0.1, rollout="r", stage="canary")
    with pytest.raises(ServingError, match=r"'toy_pd@v3.0.0' was turned back or never ramped"):
        desk.score("toy_pd@v3.0.0")
    assert desk.entries("decision") == []
    assert "NOTHING WAS RECORDED" in desk.score("toy_pd@v3.0.0", "--no-record").output
    desk.score("toy_pd@v1.0.0")
    record = decode(desk.entries("decision")[0].payload, DecisionRecord)
    assert (record.route.arm, record.route.rollout, record.route.table) == ("pinned", None, 1)
    assert _route(record) == "named by whoever scored the file, whatever the routing said (routing table 1)"


def test_a_run_that_breaks_off_leaves_no_decision_without_its_shadow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0.0", "2.0.0"):
        desk.bank.release(f"toy_pd@v{version}")
    desk.source.write_text("case,age,income\n" + "".join(f"n{k},44,{1000 + k}\n" for k in range(1200)))
    desk.route(champion="1.0.0", candidate="2.0.0", rollout="r", stage="shadow", shadow=True)
    store, breaks = SqliteLedger.store, [True]

    def breaking(self: SqliteLedger, items: Any, fresh: Any = ()) -> Any:
        if breaks[0] and len(self.cursor()) and sum(seq + 1 for seq in self.cursor().values()) > 600:
            raise LedgerError("the machine stops here")
        return store(self, items, fresh)

    monkeypatch.setattr(SqliteLedger, "store", breaking)
    with pytest.raises(LedgerError, match="the machine stops here"):
        desk.score("toy_pd")
    decided, shadowed = (sorted(e.key for e in desk.entries(kind)) for kind in ("decision", "shadow"))
    assert 0 < len(decided) < 1200
    assert decided == shadowed
    breaks[0] = False
    desk.score("toy_pd")
    desk.score("toy_pd")
    decided, shadowed = (sorted(e.key for e in desk.entries(kind)) for kind in ("decision", "shadow"))
    assert (len(decided), decided) == (1200, shadowed), "and a rerun stores none of them again"


def test_a_shadow_goes_with_its_decision(tmp_path: Path) -> None:
    pair = [("decision", "a", b"{}", AT), ("shadow", "a", b"{}", AT)]
    with open_ledger(tmp_path) as one, open_ledger(tmp_path) as other:
        assert [ref.repeated for ref in one.append_many(pair)] == [False, False]
        assert [ref.repeated for ref in other.append_many([*pair, ("shadow", "b", b"{}", AT)])] == [True, True, False]
        twice = [("decision", "c", b"{}", AT), ("shadow", "c", b"{}", AT)]
        assert [ref.repeated for ref in one.append_many([*twice, *twice])] == [False, False, True, True]
        assert [(e.kind, e.key) for e in one.read()].count(("shadow", "c")) == 1
        assert one.append("shadow", "a", b"{}", AT).repeated is False, "one that comes alone is stored"
