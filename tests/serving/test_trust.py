"""Only what verifies is served; whatever does not is named, and the others go on."""

from __future__ import annotations

import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from countermark.errors import RegistryError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SimulatedClock
from countermark.records.decision import Value
from countermark.registry.directory import ServingDirectory
from countermark.serving.catalog import Refusal, load_catalog
from countermark.serving.service import DecisionService, NotServedError
from tests.servers import PostgresServer
from tests.serving.releases import START, ReleaseBank, pd_spec, requests
from tests.serving.servers import Server, serving

GOOD: dict[str, Value] = {"income": 30000.0, "dti": 12.5, "age": 44, "purpose": "car"}


@pytest.fixture
def own_bank(tmp_path: Path) -> ReleaseBank:
    """A bank that the test may break."""
    bank = ReleaseBank(tmp_path / "releases")
    bank.release("toy_pd@v1.0.0")
    bank.release("other_pd@v1.0.0", seed=4)
    return bank


def until(done: Callable[[], bool], what: Callable[[], object], seconds: float = 5.0) -> float:
    start = time.monotonic()
    while not done():
        assert time.monotonic() - start < seconds, what()
        time.sleep(0.02)
    return time.monotonic() - start


@pytest.mark.parametrize(
    "member", ["scorer.json", "decision.json", "spec.json", "profile.json", "manifest.json", "validation_pack.pdf"]
)
def test_one_flipped_byte_in_a_bundle_is_refused_by_name_and_the_others_are_served(
    own_bank: ReleaseBank, member: str
) -> None:
    file = own_bank.bundle_file("toy_pd@v1.0.0")
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        data[archive.getinfo(member).header_offset + 30 + len(member) + 5] ^= 1
    file.write_bytes(bytes(data))
    catalog = load_catalog(own_bank.directory, own_bank.log.now)
    assert set(catalog.models) == {"other_pd"}
    assert [refusal.release for refusal in catalog.refused] == ["toy_pd@v1.0.0"]
    assert f"'{member}'" in catalog.refused[0].reason


def test_a_bundle_that_is_gone_or_of_another_release_is_refused(own_bank: ReleaseBank) -> None:
    file, other = (own_bank.bundle_file(ref) for ref in ("toy_pd@v1.0.0", "other_pd@v1.0.0"))
    file.write_bytes(other.read_bytes())
    refused = load_catalog(own_bank.directory, own_bank.log.now).refused
    assert "not the one that was published" in refused[0].reason
    file.unlink()
    assert "cannot be read" in load_catalog(own_bank.directory, own_bank.log.now).refused[0].reason


def test_a_log_of_another_trust_root_or_with_a_flipped_byte_serves_nothing(own_bank: ReleaseBank) -> None:
    with pytest.raises(RegistryError):
        load_catalog(ServingDirectory(own_bank.folder, "0" * 64), own_bank.log.now)
    log = own_bank.folder / "registry.jsonl"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(bytes(data))
    with pytest.raises(RegistryError):
        load_catalog(own_bank.directory, own_bank.log.now)


def test_an_authorisation_ends_with_its_approvals_while_the_service_runs(tmp_path: Path) -> None:
    bank = ReleaseBank(tmp_path / "releases")
    bank.release("toy_pd@v1.0.0", expires="2026-03-01")
    clock = SimulatedClock(START.replace(month=2))
    told: list[Refusal] = []
    with open_ledger(tmp_path / "ledger") as ledger:
        service = DecisionService(bank.directory, ledger, None, clock, told=told.append)
        assert service.prepare("toy_pd", GOOD).record.decision == "approve"
        clock.set(START.replace(month=3, day=2))
        service.refresh()
        with pytest.raises(NotServedError, match="not served") as caught:
            service.prepare("toy_pd", GOOD)
    assert "lapsed" in str(caught.value)
    assert [refusal.release for refusal in told] == ["toy_pd@v1.0.0"]


def test_nothing_starts_on_a_log_that_does_not_verify(own_bank: ReleaseBank, tmp_path: Path) -> None:
    with serving(own_bank.folder, "0" * 64, ledger=str(tmp_path / "ledger"), ready=False) as server:
        assert server.process.wait(30) == 9
        assert "trust root" in server.text()


@pytest.mark.slow
def test_a_running_service_takes_up_and_drops_releases_and_keeps_on_after_a_bad_log(
    own_bank: ReleaseBank, tmp_path: Path
) -> None:
    with serving(own_bank.folder, own_bank.trust_root, ledger=str(tmp_path / "ledger")) as server:
        assert server.decide("third_pd", GOOD).status == 404
        own_bank.release("third_pd@v1.0.0", seed=5)
        until(lambda: server.decide("third_pd", GOOD).status == 200, server.text)
        log = own_bank.folder / "registry.jsonl"
        whole = log.read_bytes()
        log.write_bytes(whole[: len(whole) // 2])
        until(lambda: "refresh failed" in server.text(), server.text)
        assert server.decide("third_pd", GOOD).status == 200
        position = own_bank.log.add(
            "deauthorisation",
            {"release": "third_pd@v1.0.0", "environment": "prod", "sequence": 2, "reason": "withdrawn"},
            by="eli",
            tags=["third_pd#prod!#2"],
        )
        own_bank.write()
        took = until(lambda: server.decide("third_pd", GOOD).status == 404, server.text)
        assert took < 2.0, position
        assert server.decide("toy_pd", GOOD).status == 200


@pytest.mark.slow
def test_a_revoked_key_is_refused_within_a_second(own_bank: ReleaseBank, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from countermark.cli.root import app

    keys = str(tmp_path / "keys.json")

    def tool(*args: str) -> str:
        done = CliRunner().invoke(app, ["serve-key", args[0], "--keys", keys, *args[1:]])
        assert done.exception is None, done.output
        return done.output

    text = tool("add", "shop", "--scope", "decide:toy_pd").splitlines()[0]
    tool("add", "ops", "--scope", "read")
    assert "shop" in tool("list")
    assert text not in Path(keys).read_text()
    assert Path(keys).stat().st_mode & 0o077 == 0
    with serving(own_bank.folder, own_bank.trust_root, ledger=str(tmp_path / "ledger"), keys=Path(keys)) as server:
        assert server.decide("toy_pd", GOOD, key=text).status == 200
        tool("revoke", "shop")
        took = until(lambda: server.decide("toy_pd", GOOD, key=text).status == 401, server.text)
        assert took < 1.0


@pytest.mark.slow
def test_a_database_that_is_away_means_503_and_nothing_is_acknowledged(
    bank: ReleaseBank, postgres: PostgresServer
) -> None:
    url = postgres.schema()
    rows = requests(pd_spec(), 50, seed=2)
    acknowledged: list[str] = []
    refused: list[int] = []
    stop = threading.Event()

    def ask(caller: int, server: Server) -> None:
        k = caller
        while not stop.is_set():
            k += 4
            answer = server.decide("toy_pd", rows[k % 50], id=f"d{k}")
            if answer.status == 200:
                acknowledged.append(answer.json["id"])
            else:
                refused.append(answer.status)
                time.sleep(0.02)

    with serving(bank.folder, bank.trust_root, ledger=url, workers=2) as server:
        callers = [threading.Thread(target=ask, args=(k, server)) for k in range(4)]
        for caller in callers:
            caller.start()
        until(lambda: len(acknowledged) > 50, server.text, 15)
        postgres.stop()
        until(lambda: len(refused) > 5, server.text, 15)
        before = len(acknowledged)
        postgres.start()
        until(lambda: len(acknowledged) > before + 50, server.text, 30)
        stop.set()
        for caller in callers:
            caller.join()
    assert set(refused) == {503}
    with open_ledger(url) as ledger:
        report = ledger.verify()
        found = [entry.key for entry in ledger.read(["decision"])]
    assert report.ok, report.problems
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    print(f"{len(acknowledged)} acknowledged, {len(found)} on the ledger, {len(refused)} answered 503")


def test_the_service_refuses_to_listen_beyond_this_machine_without_keys(own_bank: ReleaseBank, tmp_path: Path) -> None:
    more = ("--host", "0.0.0.0")
    with serving(own_bank.folder, own_bank.trust_root, ledger=str(tmp_path), more=more, ready=False) as server:
        assert server.process.wait(30) == 11
        assert "this machine only" in server.text()


def test_a_port_that_is_taken_is_named(server: Server, own_bank: ReleaseBank, tmp_path: Path) -> None:
    more = ("--port", str(server.port))
    with serving(own_bank.folder, own_bank.trust_root, ledger=str(tmp_path), more=more, ready=False) as second:
        assert second.process.wait(30) == 11
        assert "cannot listen" in second.text()


@pytest.mark.slow
def test_the_log_says_why_a_release_is_refused(own_bank: ReleaseBank, tmp_path: Path) -> None:
    own_bank.bundle_file("toy_pd@v1.0.0").unlink()
    with serving(own_bank.folder, own_bank.trust_root, ledger=str(tmp_path / "ledger")) as server:
        answer = server.decide("toy_pd", GOOD)
        assert answer.status == 404
        assert server.decide("other_pd", GOOD).status == 200
        assert server.call("GET", "/ready").json["refused"] == ["toy_pd@v1.0.0"]
        lines = [json.loads(line) for line in server.text().splitlines() if line.startswith("{")]
    assert any(line["event"] == "release refused" and line["release"] == "toy_pd@v1.0.0" for line in lines)
