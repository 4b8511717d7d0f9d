"""An entry that was changed after it was written decides nothing, and stops no controller."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from countermark.ledger.opening import open_ledger
from countermark.records.clock import iso
from countermark.rollout.controller import WRITER, latest_table
from countermark.rollout.live import damage, outcome_of, rollouts, standing, strays
from countermark.rollout.machine import stop
from tests.ledger.damage import change
from tests.rollout.lives import Life


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.close()


def again(life: Life) -> None:
    """Another controller takes over, and reads the ledger from its start."""
    life.leader.close()
    life.leader = open_ledger(life.folder, writer=WRITER)
    life.lead()


def last(life: Life, kind: str, chain: str = WRITER) -> int:
    return [e.seq for e in life.writer.read([kind]) if e.chain == chain][-1]


def spoil(life: Life, kind: str, chain: str = WRITER, **fields: object) -> int:
    """Change the last entry of a kind. A chain whose very last entry is damaged cannot be taken: another comes after."""
    seq = last(life, kind, chain)
    change(life.folder, seq, chain, **fields)
    return seq


def canary(life: Life) -> None:
    for _ in range(3):
        life.hour(60)
    assert (life.controller.table.models["m"].candidate, life.controller.table.models["m"].share) == ("2.0.0", 0.1)


def test_a_pair_of_which_one_was_changed_is_an_error_of_the_candidate(life: Life) -> None:
    life.hour(10)
    spoil(life, "shadow", "chain-000", payload=b"{}")
    again(life)
    life.controller.tick()
    (told,) = [text for text in life.controller.noticed if "is no evidence" in text]
    life.clock.set(life.clock.now() + timedelta(seconds=60))
    life.controller.tick()
    assert "of chain 'chain-000' was changed after it was written" in told
    evidence, _ = life.controller.readings("m-1")
    assert (evidence.pairs, evidence.missing) == (10, 1)
    assert life.controller.noticed == (), "it is read once"


def test_a_rollout_that_was_turned_back_does_not_run_again_where_its_end_was_changed(life: Life) -> None:
    canary(life)
    wanted = stop(life.controller.states["m-1"], now=life.clock.now(), by="eli", reason="r")
    life.hour(fault=lambda made, _: msgspec.structs.replace(made, error="it fell over"))
    assert life.controller.states["m-1"].ended == "rolled_back"
    spoil(life, "rollout", payload=b'{"type":"completed"}')
    again(life)
    life.append(msgspec.structs.replace(wanted, rollout="m-9"), "eli")
    assert [event.type for event in life.controller.take_up()] == ["refused"]
    assert any("and has no effect" in text for text in life.controller.noticed)
    assert life.controller.table.models["m"].candidate is None, "nor with the table that goes with an order"
    (ended,) = life.controller.tick()
    assert (ended.type, ended.reason) == ("rolled_back", "an entry of its story was changed after it was written")
    assert life.controller.table.models["m"].candidate is None
    assert life.controller.table.models["m"].champion == "1.0.0"
    again(life)
    assert life.controller.tick() == (), "its end stands after the damage"


def test_a_rollout_that_runs_is_turned_back_where_its_story_was_changed(life: Life) -> None:
    canary(life)
    spoil(life, "rollout", payload=b"{}")
    again(life)
    (ended,) = life.controller.tick()
    assert ended.type == "rolled_back"
    assert life.controller.table.models["m"].candidate is None


def test_an_order_that_was_changed_is_passed_over(life: Life) -> None:
    canary(life)
    event = stop(life.controller.states["m-1"], now=life.clock.now(), by="eli", reason="r")
    life.append(event, "eli")
    spoil(life, "rollout", "chain-000", at=iso(life.clock.now() + timedelta(days=1)))
    life.controller.tick()
    assert life.controller.taken == ()
    assert life.controller.states["m-1"].running
    assert any("and has no effect" in text for text in life.controller.noticed)
    life.append(event, "eli")
    life.controller.tick()
    assert [taken.type for taken in life.controller.taken] == ["stopped"]


def test_a_routing_table_that_was_changed_is_written_anew(life: Life) -> None:
    canary(life)
    before = life.controller.table
    life.leader.checkpoint(iso(life.clock.now()))
    spoil(life, "routing", payload=b'{"version":99,"at":"","models":{}}')
    with open_ledger(life.folder) as ledger:
        assert latest_table(ledger).version == before.version - 1, "the one before it"
    again(life)
    life.controller.tick()
    with open_ledger(life.folder) as ledger:
        assert latest_table(ledger).models == before.models


def test_status_goes_on_and_names_the_damage(life: Life) -> None:
    canary(life)
    assert damage(life.writer) == ()
    seq = spoil(life, "rollout", payload=b"{}")
    spoil(life, "routing", payload=b"{}")
    assert standing(life.writer, life.trusted) == (), "the log of this test has no release"
    assert rollouts(life.writer)["m-1"].stage == "shadow"
    assert outcome_of(life.writer, "none") is None
    told = strays(life.writer, life.trusted)
    assert told[0] == f"entry {seq} of chain 'rollout' was changed after it was written, and has no effect"
    assert len(told) == 2
