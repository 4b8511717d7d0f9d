"""An entry that was written anew with its own hash is seen by its neighbours, or by a checkpoint that was signed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from countermark.ledger import open_ledger
from countermark.ledger.checkpoint import Checkpoint
from countermark.ledger.entry import Row, entry_hash
from countermark.records.clock import iso
from countermark.records.decision import encode
from countermark.registry.sshsig import CHECKPOINT_NAMESPACE, LOG_NAMESPACE
from countermark.replay.decision_file import decision_file
from countermark.replay.replay import Replayed, Replayer
from tests.registry.people import key
from tests.replay.test_replay import NOW, Production, command, produce

LATER = "2026-03-01T10:00:00.000000Z"
MUCH_LATER = "2026-03-02T10:00:00.000000Z"
COUNT = 9


@pytest.fixture
def production(tmp_path: Path) -> Production:
    return produce(tmp_path, COUNT)


def sign(who: str, namespace: str = CHECKPOINT_NAMESPACE) -> Callable[[bytes], str]:
    return lambda body: key(who).sign(body, namespace).decode("ascii")


def checkpoint(production: Production, at: str, by: Callable[[bytes], str] | None) -> Checkpoint:
    with open_ledger(production.address, writer="checkpoint") as ledger:
        return ledger.checkpoint(at, by)


def replayed(production: Production, place: int, **changes: object) -> Replayed:
    with open_ledger(production.address) as ledger:
        replayer = production.replayer(ledger)
        if changes:
            replayer = Replayer(ledger, production.bank.directory, replace(replayer.state, **changes))  # type: ignore[arg-type]
        return replayer.replay(production.records[place].id)


def rewrite(production: Production, place: int, *, relink: bool = False) -> None:
    """Change what a row says, with a hash of its own that fits; ``relink`` writes all after it anew as well."""
    (file,) = Path(production.address).glob("chain-*.sqlite")
    with open_ledger(production.address) as ledger:
        chain = file.stem
        rows = list(ledger.rows(chain, None, -1, COUNT - 1))
    wanted = production.records[place]
    at = next(row[0] for row in rows if row[3] == wanted.id)
    seq, when, kind, name, payload, previous, _ = rows[at]
    false = payload.replace(b'"entity":"customer-', b'"entity":"somebody-')
    assert false != payload
    made: list[Row] = [_hashed(chain, (seq, when, kind, name, false, previous, b""))]
    for row in rows[at + 1 :] if relink else []:
        made.append(_hashed(chain, (*row[:5], made[-1][6], b"")))
    with sqlite3.connect(file) as store:
        for (trigger,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {trigger}")
        for row in made:
            store.execute(
                "UPDATE entries SET payload = ?, previous = ?, hash = ? WHERE seq = ?", (row[4], row[5], row[6], row[0])
            )


def _hashed(chain: str, row: Row) -> Row:
    return (*row[:6], entry_hash(chain, row))


def whats(found: Replayed) -> list[str]:
    return [difference.what for difference in found.differences]


def test_every_place_of_a_whole_chain_fits(production: Production) -> None:
    for place in (0, 4, COUNT - 1):
        found = replayed(production, place)
        assert found.identical
        assert found.place is not None
        assert found.place.linked
        assert found.place.told == "not witnessed by a checkpoint: there is none on the ledger"


def test_a_row_written_anew_with_its_own_hash_is_seen_by_the_next(production: Production) -> None:
    rewrite(production, 4)
    found = replayed(production, 4)
    assert whats(found) == ["ledger"], "every number is as it was: only the chain tells"
    assert "as entry 5 says" in found.differences[0].recorded
    told = command(production, production.records[4].id)
    assert told.exit_code != 0
    assert "DIFFERENT" in told.output
    assert whats(replayed(production, 5)) == ["ledger"], "the entry after it names a hash that is gone"
    assert replayed(production, 2).identical


def test_a_neighbour_that_was_changed_or_is_gone_is_named(production: Production) -> None:
    (file,) = Path(production.address).glob("chain-*.sqlite")
    with sqlite3.connect(file) as store:
        for (trigger,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {trigger}")
        store.execute("UPDATE entries SET at = ? WHERE seq = 3", (LATER,))
        store.execute("DELETE FROM entries WHERE seq = 6")
    assert "entry 3 of chain" in replayed(production, 4).differences[0].recorded
    assert "entry 3 of chain" in replayed(production, 2).differences[0].recorded
    for place in (5, 7):
        found = replayed(production, place)
        assert ("entry 6 of chain" in found.differences[0].recorded, found.differences[0].found) == (True, "none")


@pytest.mark.parametrize("place", [4, COUNT - 1])
def test_a_chain_written_anew_is_seen_by_a_signed_checkpoint(production: Production, place: int) -> None:
    taken = checkpoint(production, LATER, sign("rik"))
    found = replayed(production, place)
    assert found.identical
    assert found.place is not None
    assert found.place.told == "witnessed by the checkpoint of 2026-03-01T10:00:00Z, signed by rik (Rik Risk)"

    rewrite(production, place, relink=True)
    found = replayed(production, place)
    assert whats(found) == ["checkpoint"]
    assert "did not see" in found.differences[0].found
    made = decision_file(found, production.state, made_at=LATER)
    assert (made.proof.checkpoint, made.proof.checkpoint_signed, made.proof.included) == (taken.digest, True, False)
    assert made.proof.witness.startswith("NOT what was seen by the checkpoint")
    told = command(production, production.records[place].id)
    assert told.exit_code != 0
    assert "NOT what was seen by" in told.output


def test_only_somebody_who_answers_for_it_makes_a_witness(production: Production) -> None:
    checkpoint(production, LATER, None)
    found = replayed(production, 4)
    assert found.identical
    assert found.place is not None
    assert found.place.included
    assert found.place.told.endswith("that anybody answers for: the newest, of 2026-03-01T10:00:00Z, is not signed")
    assert "not witnessed by a checkpoint" in command(production, production.records[4].id).output

    checkpoint(production, MUCH_LATER, sign("mallory"))
    found = replayed(production, 4)
    assert found.place is not None
    assert found.place.by is None
    assert "is signed by a key that nobody answers for" in found.place.told
    made = decision_file(found, production.state, made_at=LATER)
    assert (made.proof.checkpoint_signed, made.proof.included, made.proof.linked) == (False, True, True)


def test_an_unsigned_checkpoint_does_not_stand_before_a_signed_one(production: Production) -> None:
    checkpoint(production, LATER, sign("vera"))
    checkpoint(production, MUCH_LATER, None)
    found = replayed(production, 4)
    assert found.place is not None
    assert found.place.by == "signed by vera (Vera Validator)"


def test_a_key_that_was_revoked_or_has_lapsed_witnesses_nothing(production: Production) -> None:
    checkpoint(production, LATER, sign("rik"))
    revoked = replayed(production, 4, revoked={key("rik").public: 3})
    assert revoked.place is not None
    assert revoked.place.by is None
    governance = production.state.governance
    lapsed = {k: replace(a, expires=NOW) for k, a in governance.authors.items()}
    old = replayed(production, 4, governance=replace(governance, authors=lapsed))
    assert old.place is not None
    assert old.place.by is None


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (lambda body: sign("rik")(body + b" "), "the signature is not of these bytes"),
        (sign("rik", LOG_NAMESPACE), "the signature was made for another purpose"),
        (lambda body: "nothing", "this is no SSH signature"),
    ],
)
def test_a_signature_that_does_not_hold_is_named(
    production: Production, signature: Callable[[bytes], str], says: str
) -> None:
    checkpoint(production, LATER, signature)
    found = replayed(production, 4)
    assert [(d.what, d.found) for d in found.differences] == [("checkpoint", says)]
    assert not found.identical


def test_a_checkpoint_that_a_signed_review_names_is_a_witness(production: Production) -> None:
    taken = checkpoint(production, LATER, None)
    body = {"review": "2026-W09", "digest": "d" * 64, "actions": [], "done": [], "checkpoint": taken.digest}
    production.bank.log.add("review_signed", body, by="olga")
    production.bank.write()
    found = replayed(production, 4)
    assert found.place is not None
    assert found.place.by == "named by review 2026-W09, signed by olga"
    rewrite(production, 4, relink=True)
    assert whats(replayed(production, 4)) == ["checkpoint"]


def test_an_entry_newer_than_every_checkpoint_says_so(production: Production) -> None:
    checkpoint(production, LATER, sign("rik"))
    newer = production.desk.decide(700, production.records[0].request, release=0, at=NOW)
    with open_ledger(production.address) as ledger:
        ledger.append("decision", newer.id, encode(newer), iso(NOW))
    production.records.append(newer)
    found = replayed(production, -1)
    assert found.identical
    assert found.place is not None
    assert found.place.told.endswith("the newest, of 2026-03-01T10:00:00Z, is older than the entry")


def test_a_checkpoint_that_cannot_be_read_witnesses_nothing(production: Production) -> None:
    with open_ledger(production.address) as ledger:
        ledger.append("checkpoint", "odd", b"{}", LATER)
    found = replayed(production, 4)
    assert found.identical
    assert found.place is not None
    assert found.place.checkpoint is None


def test_the_sample_looks_at_places_too(production: Production) -> None:
    rewrite(production, 4)
    told = command(production, "--sample", str(COUNT))
    assert told.exit_code != 0
    assert "2 of 9 decisions were not reproduced" in str(told.exception)
