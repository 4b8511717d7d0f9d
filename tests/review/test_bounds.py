"""What a review looks at: nothing that was written after its checkpoint, and every model that somebody relies on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pypdfium2
import pytest

from countermark.ledger import open_ledger
from countermark.monitoring.findings import standing_findings
from countermark.records.clock import SimulatedClock, iso
from countermark.records.decision import as_document, encode
from countermark.records.digest import pretty_json
from countermark.records.lights import Light
from countermark.records.review import Needed, Review
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.records.watch import LiveFinding
from countermark.report.render import render_review
from countermark.review.prepare import prepare
from countermark.rollout.events import RolloutEvent, event_bytes
from tests.registry.people import key
from tests.report.short_documents import crowded
from tests.review.week import AS_OF, BAD, GOOD, Week, watch
from tests.serving.releases import ReleaseBank

EARLIER = iso(AS_OF - timedelta(hours=1))


def reviewed(week: Week, as_of: datetime = AS_OF, *, sample: int = 0) -> Review:
    with open_ledger(week.address) as ledger:
        return prepare(week.sources(ledger), as_of, sample=sample)


def a_run(week: Week) -> None:
    with open_ledger(week.address) as ledger:
        made = msgspec.structs.replace(watch("toy_pd", *GOOD), as_of=EARLIER)
        ledger.append("monitor", "toy_pd", encode(made), EARLIER)


def a_finding(week: Week) -> None:
    with open_ledger(week.address) as ledger:
        drift = standing_findings(ledger)["toy_pd/feature_psi/income"]
        closed = msgspec.structs.replace(drift, status="closed", light=Light.INFORMATION, at=EARLIER)
        ledger.append("finding", drift.id, encode(closed), EARLIER)


def a_request(week: Week) -> None:
    asked = RolloutEvent(
        rollout="r-9", model="toy_pd", type="started", at=EARLIER, by="eli", stage="shadow", share=0.0, champion="1.0.0",
        candidate="2.0.0",
    )  # fmt: skip
    with open_ledger(week.address) as ledger:
        ledger.append("rollout", "r-9", event_bytes(asked), EARLIER)


def a_route(week: Week) -> None:
    table = RoutingTable(version=2, at=EARLIER, models={"toy_pd": ModelRoute(champion="2.0.0")})
    with open_ledger(week.address, writer="rollout") as ledger:
        ledger.append("routing", "routing", encode(table), EARLIER)


def a_decision(week: Week) -> None:
    with open_ledger(week.address) as ledger:
        entry = next(iter(ledger.read(["decision"])))
        ledger.append("decision", "late", json.dumps({**entry.json(), "id": "late"}).encode(), EARLIER)


WRITES = [a_run, a_finding, a_request, a_route, a_decision]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_what_is_written_later_with_an_earlier_date_changes_no_review(
    tmp_path: Path, write: Callable[[Week], None]
) -> None:
    """Without a checkpoint in between the same entry changes it: the checkpoint alone keeps the review."""
    week, free = Week(tmp_path / "own"), Week(tmp_path / "free")
    with open_ledger(week.address, writer="checkpoint") as ledger:
        taken = ledger.checkpoint(iso(AS_OF + timedelta(minutes=1)))
        first = prepare(week.sources(ledger), AS_OF, sample=5000, checkpoint=taken)
    write(week)
    again = reviewed(week, sample=5000)
    assert again == msgspec.structs.replace(first, checkpoint=None)
    before = reviewed(free, sample=5000)
    write(free)
    assert reviewed(free, sample=5000) != before


@pytest.mark.parametrize(
    ("kind", "chain"),
    [("finding", "chain-000"), ("monitor", "chain-000"), ("decision", "chain-000"), ("routing", "rollout")],
)
def test_an_entry_that_was_changed_is_told_today_and_stops_nothing(tmp_path: Path, kind: str, chain: str) -> None:
    week = Week(tmp_path / "own")
    with open_ledger(week.address) as ledger:
        entry = next(iter(ledger.read([kind])))
    alter(Path(week.address), chain, entry.seq, entry.payload.replace(b'"1.0.0"', b'"9.0.0"') + b" ")
    made = reviewed(week)
    assert len(made.models) == 4
    first = made.needed[0]
    assert (first.kind, first.light, first.command) == ("ledger", Light.FAIL, "countermark ledger verify")
    assert f"ntry {entry.seq} of chain '{chain}' was changed after it was written" in first.text
    assert first.text.count("chain '") == 1


def alter(folder: Path, chain: str, seq: int, payload: bytes) -> None:
    """Change an entry behind the ledger's back."""
    with closing(sqlite3.connect(folder / f"{chain}.sqlite")) as store:
        for (trigger,) in store.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            store.execute(f"drop trigger {trigger}")
        store.execute("update entries set payload = ? where seq = ?", (payload, seq))
        store.commit()


@pytest.mark.parametrize("models", [1, 80])
def test_that_no_replay_was_asked_for_stands_on_the_first_page(tmp_path: Path, models: int) -> None:
    made = msgspec.structs.replace(crowded(models, loud=1), replayed=None, sample=0)
    first = page_one(made, tmp_path / "review.pdf")
    assert "Not replayed no replay was asked for" in first
    assert first.index("no replay was asked for") < first.index("Decisions needed")
    asked = page_one(msgspec.structs.replace(made, sample=200), tmp_path / "asked.pdf")
    assert "no replay was asked for" not in asked


def test_no_replay_and_no_decision_are_not_the_same(tmp_path: Path) -> None:
    week = Week(tmp_path / "own", bad=False)
    told = {}
    for sample, as_of in ((0, AS_OF), (200, AS_OF - timedelta(days=4))):
        made = reviewed(week, as_of, sample=sample)
        assert (made.replayed, made.sample) == (None, sample)
        text = page_one(made, tmp_path / "review.pdf")
        told[sample] = [said for said in ("no decision in this period", "no replay was asked for") if said in text]
    assert told == {0: ["no replay was asked for"], 200: ["no decision in this period"]}
    old = {key: value for key, value in as_document(made).items() if key != "sample"}
    old["format"] = "countermark/review/1"
    for model in old["models"]:
        del model["damaged"]
    out = tmp_path / "old.pdf"
    render_review(pretty_json(old), out)
    assert "no decision was replayed" in text_of(out), "a review of the first format did not say which"


def page_one(made: Review, out: Path) -> str:
    render_review(pretty_json(as_document(made)), out)
    return text_of(out)


def text_of(path: Path) -> str:
    page = pypdfium2.PdfDocument(path)[0]
    return " ".join(page.get_textpage().get_text_range().split())


@pytest.mark.parametrize("sample", [0, 200])
@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_a_damaged_bundle_is_told_today_and_stops_nothing(tmp_path: Path, version: str, sample: int) -> None:
    week = Week(tmp_path / "own")
    state = week.bank.state()
    (given,) = [one for one in state.authorised("toy_pd") if one.ref.version == version]
    bundle = week.root / "releases" / "bundles" / f"{given.bundle_digest}.bundle"
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    made = reviewed(week, sample=sample)
    assert [model.model for model in made.models] == ["toy_cards", "toy_mortgage", "toy_overdraft", "toy_pd"]
    damaged = made.models[-1]
    assert (damaged.light, damaged.quiet, [ref for ref, _ in damaged.damaged]) == (
        Light.FAIL, False, [f"toy_pd@v{version}"],
    )  # fmt: skip
    assert damaged.title == ("toy_pd" if version == "2.0.0" else made.models[-1].title)
    assert f"the bundle of toy_pd@v{version} cannot be opened" in damaged.line
    first = [(n.kind, n.light, n.subject) for n in made.needed if n.kind in ("bundle", "replay")]
    expected = [("bundle", Light.FAIL, f"toy_pd@v{version}")]
    assert first == ([("replay", Light.FAIL, "Replay"), *expected] if sample else expected)
    assert damaged.model in page_one(made, tmp_path / "review.pdf")


class Ended(Week):
    """Models that live, lapsed, were retired, were taken out, or were never authorised."""

    def __init__(self, folder: Path, *, stolen: bool = False) -> None:
        self.root = folder / "bank"
        self.release_bank = ReleaseBank(self.root / "releases")
        releases = self.release_bank
        releases.release("toy_pd@v1.0.0")
        releases.release("toy_lapsed@v1.0.0", expires="2026-01-31")
        releases.release("toy_retired@v1.0.0")
        releases.release("toy_taken@v1.0.0")
        log = releases.log
        body = {"release": "toy_retired@v1.0.0", "sequence": 2, "reason": "replaced"}
        log.add("retirement", body, by="eli", tags=["toy_retired#prod!#2"])
        body = {"release": "toy_taken@v1.0.0", "environment": "prod", "sequence": 2, "reason": "a pause"}
        log.add("deauthorisation", body, by="eli", tags=["toy_taken#prod!#2"])
        log.propose("toy_new@v1.0.0")
        if stolen:
            body = {"public": key("vera").public, "position": 1, "reason": "stolen"}
            log.add("key_revocation", body, by="rik")
        releases.write()
        self.address = str(folder / "ledger")
        self.clock = SimulatedClock(AS_OF)
        at = iso(AS_OF - timedelta(hours=2))
        with open_ledger(self.address) as ledger:
            for model in ("toy_pd", "toy_lapsed", "toy_retired", "toy_taken"):
                ledger.append("monitor", model, encode(watch(model, *BAD)), at)
                found = LiveFinding(
                    id=f"{model}/feature_psi/income", model=model, check="feature_psi", subject="income",
                    light=Light.FAIL, status="open", at=at, since=at, owner="Olga Owner", text="drift of income is 0.31",
                )  # fmt: skip
                ledger.append("finding", found.id, encode(found), at)
        self._git()


def about(made: Review, model: str) -> list[Needed]:
    return [needed for needed in made.needed if needed.subject.partition("@")[0] == model]


def test_a_model_that_somebody_took_out_or_never_authorised_is_no_decision_of_today(tmp_path: Path) -> None:
    week = Ended(tmp_path / "own")
    assert week.bank.state().refused == ()
    made = reviewed(week)
    assert [model.model for model in made.models] == ["toy_lapsed", "toy_pd"]
    assert about(made, "toy_retired") == about(made, "toy_taken") == []
    assert {needed.kind for needed in about(made, "toy_new")} == {"approve"}


def test_a_lapsed_model_answers_nothing_today_and_keeps_its_findings(tmp_path: Path) -> None:
    made = reviewed(Ended(tmp_path / "own"))
    lapsed = made.models[0]
    assert (lapsed.light, lapsed.live, lapsed.authorised, lapsed.quiet) == (Light.FAIL, None, "no release", False)
    assert [finding.check for finding in lapsed.live_findings] == ["feature_psi"]
    assert lapsed.line.startswith("nothing answers; ")
    told = {needed.kind: (needed.light, needed.text) for needed in about(made, "toy_lapsed")}
    assert told["rollout"] == (Light.FAIL, "No release is authorised any more: nothing answers.")
    assert told["breach"][0] is Light.FAIL
    assert "watch" not in told


def test_a_model_whose_approval_became_void_answers_nothing_today(tmp_path: Path) -> None:
    """Of the same revocation nobody is told for what a person had taken out before."""
    made = reviewed(Ended(tmp_path / "own", stolen=True))
    assert [(model.model, model.light, model.live) for model in made.models] == [
        ("toy_lapsed", Light.FAIL, None), ("toy_pd", Light.FAIL, None),
    ]  # fmt: skip
    assert [needed.subject for needed in made.needed if "nothing answers" in needed.text] == ["toy_lapsed", "toy_pd"]


def test_a_retired_model_that_a_running_rollout_names_is_told(tmp_path: Path) -> None:
    week = Ended(tmp_path / "own")
    route = ModelRoute(champion="1.0.0", candidate="1.0.0", share=0.05, rollout="r-1", stage="canary 5%")
    table = RoutingTable(version=1, at=EARLIER, models={"toy_retired": route})
    with open_ledger(week.address, writer="rollout") as ledger:
        ledger.append("routing", "routing", encode(table), EARLIER)
    (told, *_) = about(reviewed(week), "toy_retired")
    assert (told.kind, told.light) == ("rollout", Light.FAIL)


def test_a_model_whose_only_champion_lapsed_answers_nothing_today(tmp_path: Path) -> None:
    """Version 2 is authorised, but has never answered everybody: it does not stand in."""
    made = reviewed(Week(tmp_path / "own"), datetime(2026, 3, 5, 8, 0, tzinfo=UTC))
    model = next(model for model in made.models if model.model == "toy_pd")
    assert (model.live, model.authorised, model.light) == (None, "toy_pd@v2.0.0", Light.FAIL)
    told = [n for n in about(made, "toy_pd") if "nothing answers" in n.text]
    assert [(n.kind, n.light) for n in told] == [("rollout", Light.FAIL)]
    assert told[0].command == "countermark rollout start toy_pd@v2.0.0"
