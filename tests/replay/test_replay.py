"""A replay gives every bit again, and names what was changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import app
from countermark.errors import CountermarkError, LedgerError, RegistryError, ReplayError
from countermark.ledger import Ledger, open_ledger
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord, encode
from countermark.registry.state import RegistryState
from countermark.replay.replay import Difference, Replayer
from countermark.replay.sample import draw
from tests.replay.decided import FIRST, Desk
from tests.serving.releases import ReleaseBank

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COUNT = 1000


@dataclass
class Production:
    """Three releases, a thousand decisions."""

    bank: ReleaseBank
    state: RegistryState
    desk: Desk
    address: str
    records: list[DecisionRecord]

    def replayer(self, ledger: Ledger) -> Replayer:
        return Replayer(ledger, self.bank.directory, self.bank.directory.state(NOW))


def produce(folder: Path, count: int) -> Production:
    bank = ReleaseBank(folder / "releases")
    for k in range(3):
        bank.release(f"toy_pd@v{k + 1}.0.0", seed=k)
    state = bank.directory.state(NOW)
    desk = Desk(bank.directory, state, "toy_pd")
    address = str(folder / "ledger")
    with open_ledger(address) as ledger:
        records = desk.fill(ledger, count)
    return Production(bank, state, desk, address, records)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Production:
    return produce(tmp_path_factory.mktemp("whole"), COUNT)


@pytest.fixture
def small(tmp_path: Path, whole: Production) -> Iterator[Production]:
    """A copy that a test may damage."""
    folder = Path(whole.address).parent
    shutil.copytree(folder, tmp_path / "p")
    bank = ReleaseBank.__new__(ReleaseBank)
    bank.__dict__.update(whole.bank.__dict__)
    bank.folder = tmp_path / "p" / "releases"
    bank.directory = type(whole.bank.directory)(bank.folder, bank.trust_root)
    return Production(bank, whole.state, whole.desk, str(tmp_path / "p" / "ledger"), whole.records)


Run = Callable[..., Result]


def command(production: Production, *args: str) -> Result:
    options = ["--releases", str(production.bank.folder), "--ledger", production.address]
    return CliRunner().invoke(app, ["replay", *args, *options, "--trust-root", production.bank.trust_root])


def test_a_thousand_decisions_of_three_releases_are_identical_and_fast(whole: Production) -> None:
    with open_ledger(whole.address) as ledger:
        started = time.perf_counter()
        found = whole.replayer(ledger).sample(record.id for record in whole.records)
        seconds = time.perf_counter() - started
    assert len(found) == COUNT
    assert all(one.identical for one in found)
    assert {str(one.release.bundle.ref) for one in found if one.release} == {f"toy_pd@v{k}.0.0" for k in (1, 2, 3)}
    assert {one.record.decision for one in found if one.record} == {"approve", "decline"}, "both outcomes are replayed"
    assert seconds < 20


def changed(record: DecisionRecord, **changes: object) -> DecisionRecord:
    return msgspec.structs.replace(record, id="changed", **changes)


def declined(production: Production) -> DecisionRecord:
    return next(record for record in production.records if record.decision == "decline")


@pytest.mark.parametrize(
    ("what", "edit"),
    [
        ("margin", lambda r: changed(r, margin=_next(r.margin))),
        ("probability", lambda r: changed(r, p=_next(r.p))),
        ("grade", lambda r: changed(r, grade="A")),
        ("decision", lambda r: changed(r, decision="approve")),
        ("reasons", lambda r: changed(r, reasons=r.reasons[1:])),
        ("reasons", lambda r: changed(r, reasons=(_text(r.reasons[0]), *r.reasons[1:]))),
        ("scorer", lambda r: changed(r, digests=_with(r.digests, scorer="0" * 64))),
        ("decision policy", lambda r: changed(r, digests=_with(r.digests, decision_policy="0" * 64))),
        ("tag", lambda r: changed(r, release=_with(r.release, tag_object="0" * 40))),
        ("release", lambda r: changed(r, release=_with(r.release, version="9.0.0"))),
        ("release", lambda r: changed(r, release=_with(r.release, position=2))),
        ("release", lambda r: changed(r, release=_with(r.release, position=10_000))),
        ("bundle", lambda r: changed(r, release=_with(r.release, bundle="0" * 64))),
        ("features", lambda r: changed(r, features={**r.features, "age": "old"})),
        ("features", lambda r: changed(r, features={})),
    ],
)  # fmt: skip
def test_each_falsified_part_of_a_record_is_named(
    small: Production, what: str, edit: Callable[[DecisionRecord], DecisionRecord]
) -> None:
    false = edit(declined(small))
    with open_ledger(small.address) as ledger:
        ledger.append("decision", false.id, encode(false), false.at)
        found = small.replayer(ledger).replay("changed")
    assert not found.identical
    assert what in [difference.what for difference in found.differences]


def _next(bits: str) -> str:
    import math

    return math.nextafter(float.fromhex(bits), math.inf).hex()


def _with(record: msgspec.Struct, **changes: object) -> msgspec.Struct:
    return msgspec.structs.replace(record, **changes)


def _text(reason: msgspec.Struct) -> msgspec.Struct:
    return msgspec.structs.replace(reason, text="Because")


def test_another_case_under_the_same_id_is_seen(small: Production) -> None:
    record = declined(small)
    other = next(r for r in small.records if r.decision == "approve" and r.release == record.release)
    false = changed(record, features=other.features)
    with open_ledger(small.address) as ledger:
        ledger.append("decision", false.id, encode(false), false.at)
        names = {difference.what for difference in small.replayer(ledger).replay("changed").differences}
    assert names >= {"margin", "probability", "decision", "reasons"}


@pytest.mark.parametrize("member", ["scorer.json", "decision.json", "profile.json", "spec.json"])
def test_one_flipped_byte_in_a_member_of_the_bundle_is_reported_by_name(small: Production, member: str) -> None:
    file = small.bank.bundle_file("toy_pd@v1.0.0")
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        begin = archive.getinfo(member).header_offset + 30 + len(member)
    data[begin + 12] ^= 1
    file.write_bytes(bytes(data))
    result = command(small, small.records[0].id)
    assert isinstance(result.exception, ReplayError)
    assert result.exception.exit_code != 0
    assert f"member '{member}' of the bundle is damaged" in result.output
    assert "DIFFERENT" in result.output
    other = command(small, small.records[1].id)
    assert other.exit_code == 0, "releases that are whole are still replayed"


def test_a_missing_bundle_is_reported(small: Production) -> None:
    small.bank.bundle_file("toy_pd@v1.0.0").unlink()
    result = command(small, small.records[0].id)
    assert isinstance(result.exception, ReplayError)
    assert "bundle" in str(result.exception)


def test_one_flipped_byte_of_the_log_stops_everything_with_its_position(small: Production) -> None:
    log = small.bank.folder / "registry.jsonl"
    lines = log.read_bytes().split(b"\n")
    line = bytearray(lines[3])
    at = line.index(b'"payload":"') + 60
    line[at] = ord("A") if line[at] != ord("A") else ord("B")
    lines[3] = bytes(line)
    log.write_bytes(b"\n".join(lines))
    result = command(small, small.records[0].id)
    assert isinstance(result.exception, RegistryError)
    assert "log position 3" in str(result.exception)


def test_one_flipped_byte_of_a_ledger_row_is_reported(small: Production) -> None:
    (file,) = Path(small.address).glob("*.sqlite")
    with sqlite3.connect(file) as store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {name}")
        (payload,) = store.execute("SELECT payload FROM entries WHERE key = ?", (small.records[0].id,)).fetchone()
        store.execute(
            "UPDATE entries SET payload = ? WHERE key = ?",
            (payload.replace(b'"approve"', b'"approvf"').replace(b'"decline"', b'"declinf"'), small.records[0].id),
        )
    result = command(small, small.records[0].id)
    assert isinstance(result.exception, ReplayError)
    assert "ledger" in str(result.exception)
    assert "was changed after it was written" in result.output


def test_a_record_that_is_none_is_reported(small: Production) -> None:
    with open_ledger(small.address) as ledger:
        ledger.append("decision", "odd", b'{"format":"other"}', iso(NOW))
        found = small.replayer(ledger).replay("odd")
    assert [d.what for d in found.differences] == ["ledger"]
    assert not found.identical


def test_a_tag_that_git_holds_differently_is_reported(whole: Production) -> None:
    record = whole.records[0]
    with open_ledger(whole.address) as ledger:
        moved = Replayer(ledger, whole.bank.directory, whole.state, tags=lambda _: "f" * 40).replay(record.id)
        gone = Replayer(ledger, whole.bank.directory, whole.state, tags=lambda _: None).replay(record.id)
        right = record.release.tag_object
        held = Replayer(ledger, whole.bank.directory, whole.state, tags=lambda _: right).replay(record.id)
    assert moved.differences == (Difference("tag", f"toy_pd#prod#1 is {right}", "toy_pd#prod#1 is " + "f" * 40),)
    assert gone.differences[0].found == "toy_pd#prod#1 is gone"
    assert held.identical


def test_an_answer_after_the_withdrawal_is_reported(tmp_path: Path) -> None:
    production = produce(tmp_path, 6)
    log = production.bank.log
    log.now = FIRST
    body = {"release": "toy_pd@v1.0.0", "environment": "prod", "sequence": 4, "reason": "Test"}
    log.add("deauthorisation", body, by="eli", tags=["toy_pd#prod!#4"])
    production.bank.write()
    withdrawn = log.now
    desk = production.desk
    soon = desk.decide(901, production.records[0].request, release=0, at=withdrawn + timedelta(seconds=30))
    late = desk.decide(902, production.records[0].request, release=0, at=withdrawn + timedelta(hours=1))
    with open_ledger(production.address) as ledger:
        for record in (soon, late):
            ledger.append("decision", record.id, encode(record), record.at)
        replayer = production.replayer(ledger)
        assert replayer.replay(production.records[0].id).identical, "it was allowed when it answered"
        assert replayer.replay(soon.id).identical, "a server needs a moment to see the log"
        found = replayer.replay(late.id)
    assert [(d.what, d.found) for d in found.differences] == [("release", f"authorised until {iso(withdrawn)}")]


def test_an_answer_after_the_approvals_lapsed_is_reported(tmp_path: Path) -> None:
    bank = ReleaseBank(tmp_path / "releases")
    bank.release("toy_pd@v1.0.0", expires="2026-02-10")
    desk = Desk(bank.directory, bank.directory.state(FIRST), "toy_pd")
    with open_ledger(str(tmp_path / "ledger")) as ledger:
        made = desk.fill(ledger, 2)
        late = desk.decide(900, made[0].request, release=0, at=datetime(2026, 2, 12, tzinfo=UTC))
        ledger.append("decision", late.id, encode(late), late.at)
        replayer = Replayer(ledger, bank.directory, bank.directory.state(NOW))
        assert replayer.replay(made[0].id).identical
        assert [d.what for d in replayer.replay(late.id).differences] == ["release"]


def test_the_draw_is_the_same_for_everybody_and_differs_by_seed(whole: Production) -> None:
    with open_ledger(whole.address) as ledger:
        first = draw(ledger, 50, 7)
        assert first == draw(ledger, 50, 7)
        assert first[:20] == draw(ledger, 20, 7), "a larger sample keeps the smaller one"
        assert set(first) != set(draw(ledger, 50, 8))
        assert len(draw(ledger, 5000, 7)) == COUNT
        assert draw(ledger, 5, 7, model="other") == ()
        assert set(draw(ledger, 10, 7, model="toy_pd")) == set(first[:10])
        half = draw(ledger, 5000, 7, after=whole.records[499].at)
        assert set(half) == {record.id for record in whole.records[500:]}
        with pytest.raises(ReplayError, match="nothing to replay"):
            draw(ledger, 0, 7)


def test_the_command_replays_a_sample(small: Production) -> None:
    result = command(small, "--sample", "60", "--seed", "4")
    assert result.exit_code == 0, result.output
    assert "60 identical to the last bit, 0 different" in result.output
    told = json.loads(command(small, "--sample", "5", "--json").output)
    assert (told["drawn"], told["identical"], told["different"]) == (5, 5, [])

    false = changed(declined(small), grade="A")
    with open_ledger(small.address) as ledger:
        ledger.append("decision", false.id, encode(false), false.at)
    result = command(small, "--sample", "5000")
    assert isinstance(result.exception, ReplayError)
    assert f"1 of {COUNT + 1} decisions were not reproduced" in str(result.exception)
    assert "DIFFERENT changed" in result.output
    assert "grade" in str(result.exception)


def test_the_command_tells_one_decision(small: Production) -> None:
    result = command(small, declined(small).id)
    assert result.exit_code == 0, result.output
    assert "IDENTICAL" in result.output
    assert "decline by toy_pd@v" in result.output


def test_what_the_command_refuses(small: Production, tmp_path: Path) -> None:
    assert command(small).exit_code == 2
    assert command(small, "x", "--sample", "3").exit_code == 2
    assert command(small, "--sample", "3", "--to", str(tmp_path)).exit_code == 2
    unknown = command(small, "nobody")
    assert isinstance(unknown.exception, ReplayError)
    assert "no decision 'nobody'" in str(unknown.exception)
    nothing = command(small, "--sample", "3", "--model", "other")
    assert isinstance(nothing.exception, ReplayError)
    assert "no decision to replay" in str(nothing.exception)
    small.address = str(tmp_path / "empty")
    empty = command(small, "x")
    assert isinstance(empty.exception, LedgerError)


def test_the_command_needs_a_trust_root(small: Production, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERMARK_TRUST_ROOT", raising=False)
    options = ["--releases", str(small.bank.folder), "--ledger", small.address]
    result = CliRunner().invoke(app, ["replay", small.records[0].id, *options])
    assert isinstance(result.exception, RegistryError)
    assert "trust root" in str(result.exception)


def test_verify_knows_a_decision(small: Production, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "bank"
    (root / "conf").mkdir(parents=True)
    (root / "conf" / "bank.yaml").write_text("name: t\n")
    shutil.copytree(small.bank.folder, root / "releases")
    monkeypatch.chdir(root)
    arguments = ["verify", small.records[0].id, "--ledger", small.address, "--trust-root", small.bank.trust_root]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "IDENTICAL" in result.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert told["identical"] is True

    false = changed(declined(small), grade="A")
    with open_ledger(small.address) as ledger:
        ledger.append("decision", false.id, encode(false), false.at)
    arguments[1] = false.id
    wrong = CliRunner().invoke(app, arguments)
    assert isinstance(wrong.exception, CountermarkError)
    assert "does not verify" in str(wrong.exception)
