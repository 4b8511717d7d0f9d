"""Only what verifies is served; whatever does not is named, and the others go on."""

from __future__ import annotations

import json
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from countermark.errors import RegistryError, ScorerError, ServingError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SimulatedClock
from countermark.records.decision import Value
from countermark.records.digest import canonical_json
from countermark.registry import bundle
from countermark.registry.directory import ServingDirectory
from countermark.registry.standing import Authorisation
from countermark.serving import catalog as catalog_module
from countermark.serving.catalog import Refusal, load_catalog
from countermark.serving.release import ServedRelease
from countermark.serving.requests import DecisionRequest
from countermark.serving.seen import SeenLog
from countermark.serving.service import DecisionService, NotServedError
from tests.registry.people import Log, governance
from tests.servers import PostgresServer
from tests.serving import releases
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


def test_an_old_bundle_without_a_reference_profile_verifies_and_is_not_served(
    own_bank: ReleaseBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(bundle, "REQUIRED", tuple(name for name in bundle.REQUIRED if name != "profile.json"))
        then.setattr(
            releases,
            "build_bundle",
            lambda ref, members, **digests: bundle.build_bundle(
                ref, {name: data for name, data in members.items() if name != "profile.json"}, **digests
            ),
        )
        digest = own_bank.release("old_pd@v1.0.0")
    assert bundle.Bundle.open(own_bank.bundle_file("old_pd@v1.0.0"), digest).digest == digest
    catalog = load_catalog(own_bank.directory, own_bank.log.now)
    assert set(catalog.models) == {"toy_pd", "other_pd"}
    assert "the bundle of 'old_pd@v1.0.0' has no 'profile.json'" in str(catalog.why_not("old_pd"))


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
        assert service.prepare("toy_pd", DecisionRequest(request=GOOD)).record.decision == "approve"
        clock.set(START.replace(month=3, day=2))
        service.refresh()
        with pytest.raises(NotServedError, match="not served") as caught:
            service.prepare("toy_pd", DecisionRequest(request=GOOD))
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


# who signed for what


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ("spec.json", "spec"), ("profile.json", "reference profile"), ("pack.json", "pack"),
        ("validation_pack.pdf", "Final document"),
    ],
)  # fmt: skip
def test_one_engineer_serves_a_spec_a_profile_or_a_pack_that_nobody_approved(
    own_bank: ReleaseBank, monkeypatch: pytest.MonkeyPatch, member: str, name: str
) -> None:
    model = pd_spec("swap_pd")
    document = model.model_dump(mode="json")
    document["contract"]["columns"]["age"]["minimum"] = 0
    forged = canonical_json(document) if member == "spec.json" else b'{"forged":1}'
    monkeypatch.setattr(
        releases,
        "build_bundle",
        lambda ref, members, **digests: bundle.build_bundle(ref, {**members, member: forged}, **digests),
    )
    own_bank.release("swap_pd@v1.0.0", model=model)
    catalog = load_catalog(own_bank.directory, own_bank.log.now)
    assert set(catalog.models) == {"toy_pd", "other_pd"}
    assert f"holds another {name} than was approved" in str(catalog.why_not("swap_pd"))


def test_a_bundle_that_its_reader_refuses_keeps_no_other_release_out(
    own_bank: ReleaseBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which documents a reader refuses, and that it always does so by name: tests/serving/test_odd_bundles.py."""

    def breaks(opened: bundle.Bundle, authorisation: Authorisation) -> ServedRelease:
        if authorisation.ref.model == "toy_pd":
            raise ScorerError("no such zone")
        return ServedRelease(opened, authorisation)

    monkeypatch.setattr(catalog_module, "ServedRelease", breaks)
    catalog = load_catalog(own_bank.directory, own_bank.log.now)
    assert set(catalog.models) == {"other_pd"}
    assert [(refusal.release, refusal.reason) for refusal in catalog.refused] == [("toy_pd@v1.0.0", "no such zone")]


# which log


def retired(bank: ReleaseBank) -> bytes:
    """Retire a release for good; the log as it was before."""
    old = (bank.folder / "registry.jsonl").read_bytes()
    body = {"release": "toy_pd@v1.0.0", "sequence": 2, "reason": "harmful"}
    bank.log.add("retirement", body, by="rik", tags=["toy_pd#prod!#2"])
    bank.write()
    return old


@pytest.mark.parametrize("restarted", [False, True])
def test_an_older_log_is_put_back_and_undoes_a_retirement(
    own_bank: ReleaseBank, tmp_path: Path, restarted: bool
) -> None:
    clock, log = SimulatedClock(own_bank.log.now), own_bank.folder / "registry.jsonl"
    with open_ledger(tmp_path / "ledger") as ledger:
        service = DecisionService(own_bank.directory, ledger, None, clock)
        old = retired(own_bank)
        clock.set(own_bank.log.now)
        service.refresh()
        assert set(service.catalog.models) == {"other_pd"}
        new = log.read_bytes()
        log.write_bytes(old)
        again = (lambda: DecisionService(own_bank.directory, ledger, None, clock)) if restarted else service.refresh
        with pytest.raises(RegistryError, match="the exported log is older than the one that was served from before"):
            again()
        assert set(service.catalog.models) == {"other_pd"}
        log.write_bytes(new)
        service.refresh()
        assert set(DecisionService(own_bank.directory, ledger, None, clock).catalog.models) == {"other_pd"}


def test_a_log_that_forked_is_refused_though_it_is_longer(own_bank: ReleaseBank, tmp_path: Path) -> None:
    clock = SimulatedClock(own_bank.log.now)
    with open_ledger(tmp_path / "ledger") as ledger:
        service = DecisionService(own_bank.directory, ledger, None, clock)
        retired(own_bank)
        service.refresh()
        del own_bank.log.entries[-1]
        for _ in range(3):
            own_bank.log.add("witness", {"note": "another"}, by="aud")
        own_bank.write()
        with pytest.raises(RegistryError, match="the exported log is another than the one that was served from before"):
            service.refresh()


def test_what_was_seen_of_a_log_is_kept_in_lines_that_a_torn_one_does_not_spoil(
    own_bank: ReleaseBank, tmp_path: Path
) -> None:
    with open_ledger(tmp_path / "ledger") as ledger:
        seen = SeenLog.beside(ledger, own_bank.directory)
    assert seen.furthest() is None
    state = own_bank.log.fold()
    seen.note(state)
    seen.note(state)
    assert seen.file is not None
    assert seen.file.parent == tmp_path / "ledger"
    assert seen.file.read_text() == f"{own_bank.trust_root} {state.position} {state.head}\n"
    with seen.file.open("ab") as file:
        file.write(f"{'0' * 64} 99 {'f' * 64}\n{own_bank.trust_root} 9".encode() + b"\xff\n\n")
    assert seen.furthest() == (state.position, state.head)
    assert SeenLog(tmp_path, own_bank.trust_root).furthest() is None
    SeenLog(Path("/dev/null/none"), own_bank.trust_root).note(state)


def test_an_authorisation_ends_although_the_log_cannot_be_read(tmp_path: Path) -> None:
    bank = ReleaseBank(tmp_path / "releases")
    bank.release("toy_pd@v1.0.0", expires="2026-03-01")
    bank.release("other_pd@v1.0.0", seed=4)
    clock = SimulatedClock(START.replace(month=2))
    told: list[Refusal] = []
    service = DecisionService(bank.directory, None, None, clock, told=told.append)
    (bank.folder / "registry.jsonl").write_bytes(b"damaged")
    clock.set(START.replace(month=3, day=2))
    for _ in range(2):
        with pytest.raises(RegistryError):
            service.refresh()
    assert set(service.catalog.models) == {"other_pd"}
    assert [refusal.release for refusal in told] == ["toy_pd@v1.0.0"]


def test_an_engineers_key_lapses_and_a_worker_serves_nothing_and_names_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lapsing = governance(expires={"eli": "2026-06-30"})
    monkeypatch.setattr(releases, "Log", lambda start: Log(lapsing, start=start))
    bank = ReleaseBank(tmp_path / "releases")
    bank.release("toy_pd@v1.0.0")
    clock = SimulatedClock(START.replace(month=6))
    running = DecisionService(bank.directory, None, None, clock)
    assert running.catalog.until == datetime(2026, 7, 1, tzinfo=UTC)
    clock.set(START.replace(month=7))
    running.refresh()
    for service in (running, DecisionService(bank.directory, None, None, clock)):
        assert service.catalog.models == {}
        assert "by eli: the key has lapsed since" in str(service.catalog.why_not("toy_pd"))
        with pytest.raises(NotServedError, match="not served"):
            service.prepare("toy_pd", DecisionRequest(request=GOOD))


@pytest.mark.parametrize("name", ["", " ", "two\nlines"])
def test_a_key_of_nobody_is_refused(tmp_path: Path, name: str) -> None:
    from click.testing import CliRunner

    from countermark.cli.root import app

    path = tmp_path / "keys.json"
    done = CliRunner().invoke(app, ["serve-key", "add", "--keys", str(path), name, "--scope", "read"])
    assert isinstance(done.exception, ServingError)
    assert "a key is somebody's" in str(done.exception)
    assert not path.exists()
