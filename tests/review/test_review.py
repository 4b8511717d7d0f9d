"""The weekly review: prepared from what is written down, recorded line by line, signed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pikepdf
import pypdfium2
import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import RegistryError, ReportError, ReviewError
from countermark.ledger import open_ledger
from countermark.monitoring.findings import standing_findings
from countermark.records.clock import iso
from countermark.records.decision import decode, encode
from countermark.records.digest import sha256_hex
from countermark.records.lights import Light
from countermark.records.review import Review
from countermark.records.watch import ModelWatch
from countermark.report.render import render_review
from countermark.review import signing
from countermark.review.minutes import read_minutes, template
from countermark.review.prepare import prepare, review_id
from countermark.review.signing import read_review, record, sign, write_review
from tests.registry.people import key
from tests.review.week import AS_OF, GOOD, PLAN, Week, watch

MINUTES = """\
review: 2026-W07
held: 2026-02-10
attendance: [Olga Owner, Vera Validator, Rik Risk]
absent: [Eli Engineer]
decisions:
  - {text: Version 2 stays off, by: Rik Risk, model: toy_pd}
actions:
  - text: Explain the drift of income
    owner: olga
    due: 2026-02-17
    model: toy_pd
  - {text: Read the proposal of cards, owner: Vera Validator, due: 2026-02-13}
done: [2026-W05-1]
notes: Short week.
"""


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    return Week(tmp_path_factory.mktemp("week"))


@pytest.fixture(scope="module")
def prepared(week: Week) -> Review:
    with open_ledger(week.address, writer="checkpoint") as ledger:
        taken = ledger.checkpoint(iso(AS_OF))
    with open_ledger(week.address) as ledger:
        return prepare(week.sources(ledger), AS_OF, sample=30, checkpoint=taken)


@pytest.fixture
def folder(prepared: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared review without its pages, which most tests do not look at."""
    monkeypatch.setattr(signing, "render_review", lambda data, out: out.write_bytes(b"%PDF"))
    write_review(prepared, tmp_path / "2026-W07")
    (tmp_path / "2026-W07" / "minutes.yaml").write_text(MINUTES)
    return tmp_path / "2026-W07"


def test_decisions_come_first_and_the_pressing_ones_before_all(prepared: Review) -> None:
    told = [(needed.kind, needed.light, needed.subject, needed.owner) for needed in prepared.needed]
    assert told == [
        ("rollout", Light.FAIL, "toy_pd", "Olga Owner"),
        ("breach", Light.FAIL, "toy_pd", "Olga Owner"),
        ("action", Light.FAIL, "toy_pd", "Olga Owner"),
        ("approve", Light.FAIL, "toy_cards@v1.1.0", "Vera Validator, Rik Risk"),
    ]
    assert "approval as validator and risk is missing" in prepared.needed[3].text
    assert prepared.needed[0].command == "countermark rollout reconcile toy_pd --reason ..."


def test_one_model_is_loud_and_three_are_quiet_in_one_line(prepared: Review) -> None:
    assert {m.model: m.quiet for m in prepared.models} == {
        "toy_pd": False, "toy_cards": True, "toy_mortgage": True, "toy_overdraft": True,
    }  # fmt: skip
    loud = next(m for m in prepared.models if not m.quiet)
    assert (loud.light, loud.authorised, loud.live) == (Light.FAIL, "toy_pd@v2.0.0", "1.0.0")
    assert [r.ended for r in loud.rollouts] == ["rolled_back"]
    assert [f.check for f in loud.live_findings] == ["feature_psi", "auc"]
    assert [f.severity for f in loud.log_findings] == ["medium"]
    assert loud.challenge is not None
    assert loud.challenge.verdict == "too few labels"
    quiet = next(m for m in prepared.models if m.model == "toy_cards")
    assert quiet.line == "1\u202f240 decisions; 2 of 3 checks pass; 1 not evaluated; approvals 0.871"


def test_replay_checkpoint_actions_and_expiries_are_in_it(prepared: Review) -> None:
    assert prepared.replayed is not None
    assert (prepared.replayed.drawn, prepared.replayed.identical) == (30, 30)
    assert prepared.replayed.seed == 20260210
    assert prepared.checkpoint is not None
    assert prepared.checkpoint.chains["rollout"] == 4
    assert [(a.id, a.status) for a in prepared.actions] == [("2026-W05-1", "overdue"), ("2026-W05-2", "open")]
    assert {(e.subject, e.ends, e.lapsed) for e in prepared.expiring} == {("toy_pd@v1.0.0", "2026-02-28", False)}
    assert prepared.previous == "2026-W05"


def test_the_same_sources_give_the_same_review(week: Week, prepared: Review) -> None:
    with open_ledger(week.address) as ledger:
        again = prepare(week.sources(ledger), AS_OF, sample=30)
    assert msgspec.structs.replace(prepared, checkpoint=None) == again


def test_a_run_as_of_the_past_does_not_stand_beside_the_findings_of_a_newer_one(tmp_path: Path) -> None:
    week = Week(tmp_path / "own")
    with open_ledger(week.address) as ledger:
        old = [r for r in ledger.read(["monitor"]) if r.key == "toy_pd"][-1]
        past = msgspec.structs.replace(
            decode(old.payload, ModelWatch), as_of=iso(AS_OF - timedelta(days=1)), decisions=7
        )
        ledger.append("monitor", "toy_pd", encode(past), past.as_of)
        made = prepare(week.sources(ledger), AS_OF, sample=0)
    assert next(m for m in made.models if m.model == "toy_pd").decisions == 1240


def test_a_model_that_something_waits_for_is_not_quiet(tmp_path: Path) -> None:
    """Its checks pass; what its release stands on ends, or an action about it is overdue."""
    week = Week(tmp_path / "own", bad=False)
    log = week.release_bank.log
    action = {"id": "2026-W05-1", "owner": "Olga Owner", "due": "2026-02-03", "text": "Ask", "model": "toy_cards"}
    signed = {"review": "2026-W05", "digest": "d" * 64, "actions": [action], "done": [], "checkpoint": None}
    log.add("review_signed", signed, by="olga")
    candidate = log.propose("toy_cards@v1.1.0")
    for role, who in (("validator", "vera"), ("risk", "rik")):
        log.approve(candidate, role, by=who, ref="toy_cards@v1.1.0")
    week.release_bank.release("toy_loans@v1.0.0", seed=5, expires="2026-02-14")
    with open_ledger(week.address) as ledger:
        ledger.append("monitor", "toy_loans", encode(watch("toy_loans", *GOOD)), iso(AS_OF - timedelta(hours=2)))
        sources = replace(week.sources(ledger), state=week.release_bank.log.fold(AS_OF))
        plans = {name: PLAN.model_copy(update={"name": name}) for name in sources.state.models}
        made = prepare(replace(sources, plans=plans), AS_OF, sample=0)
    seen = {m.model: (m.quiet, m.light, m.line.rpartition("; ")[2]) for m in made.models}
    assert seen["toy_cards"] == (False, Light.FAIL, "action 2026-W05-1 is overdue")
    assert seen["toy_loans"] == (False, Light.WATCH, "what v1.0.0 stands on ends within a week")
    assert {n.subject for n in made.needed} == {"toy_cards", "toy_cards@v1.1.0", "toy_loans@v1.0.0"}
    assert "toy_cards@v1.1.0 is approved." in {n.text for n in made.needed}, "spelt as it is, not Toy_cards"
    quiet = {m.model for m in made.models if m.quiet}
    assert quiet == {"toy_pd", "toy_mortgage", "toy_overdraft"}
    assert not any(n.subject.partition("@")[0] in quiet for n in made.needed)


def test_findings_bear_their_date_and_every_authorised_release_is_named(prepared: Review) -> None:
    texts = [n.text for n in prepared.needed]
    assert f"Out of limits on {iso(AS_OF)[:10]}: drift (PSI) of income" in texts[1]
    loud = next(m for m in prepared.models if not m.quiet)
    assert (loud.authorised, loud.also) == ("toy_pd@v2.0.0", ("1.0.0",))


def test_what_came_later_is_not_in_it(week: Week) -> None:
    before = AS_OF - timedelta(days=2, hours=1)
    with open_ledger(week.address) as ledger:
        early = prepare(week.sources(ledger), before, sample=0)
    loud = {m.model: m for m in early.models}
    assert not any(m.rollouts or m.live_findings for m in loud.values())
    assert all(m.window is None for m in loud.values())
    assert {n.kind for n in early.needed} >= {"watch"}
    assert early.replayed is None
    assert early.checkpoint is None
    with open_ledger(week.address) as ledger, pytest.raises(RegistryError, match="no log yet"):
        prepare(week.sources(ledger), datetime(2020, 1, 1, tzinfo=UTC))


def test_a_model_in_production_without_a_plan_is_a_decision_of_today(week: Week) -> None:
    with open_ledger(week.address) as ledger:
        made = prepare(week.sources(ledger, unplanned="toy_cards"), AS_OF, sample=0)
    (told,) = [needed for needed in made.needed if needed.kind == "watch"]
    assert (told.light, told.subject, told.owner) == (Light.FAIL, "toy_cards", "Olga Owner")
    assert told.text == "No monitoring plan: nothing watches it. Write conf/monitor/toy_cards.yaml, or retire it?"
    cards = next(m for m in made.models if m.model == "toy_cards")
    assert not cards.quiet
    assert cards.line.startswith("no monitoring plan; 1\u202f240 decisions")


def test_nothing_is_needed_in_a_quiet_week(tmp_path: Path) -> None:
    quiet = Week(tmp_path, bad=False)
    with open_ledger(quiet.address) as ledger:
        made = prepare(quiet.sources(ledger), AS_OF, sample=5)
    assert made.needed == ()
    assert all(m.quiet and m.light is Light.PASS for m in made.models)
    assert made.previous is None


def test_a_decision_that_does_not_replay_is_the_first_thing_said(tmp_path: Path) -> None:
    quiet = Week(tmp_path, bad=False)
    with open_ledger(quiet.address) as ledger:
        entry = next(iter(ledger.read(["decision"])))
        false = {**entry.json(), "id": "false", "p": "0x1.0p-1"}
        ledger.append("decision", "false", json.dumps(false).encode(), iso(AS_OF - timedelta(hours=1)))
        made = prepare(quiet.sources(ledger), AS_OF, sample=5000)
    assert made.replayed is not None
    assert made.replayed.different == (("false", "probability"),)
    assert made.needed[0].kind == "replay"
    assert made.needed[0].command == "countermark replay false"


@pytest.mark.parametrize(
    ("day", "week"), [("2026-12-07", "2026-W50"), ("2027-01-01", "2026-W53"), ("2026-01-05", "2026-W02")]
)
def test_a_review_is_named_by_its_iso_week(day: str, week: str) -> None:
    assert review_id(datetime.fromisoformat(day).replace(tzinfo=UTC)) == week


def test_the_document_has_decisions_on_page_one_and_carries_the_json(prepared: Review, tmp_path: Path) -> None:
    written = write_review(prepared, tmp_path / "r")
    assert [path.name for path in written] == ["review.json", "review.pdf", "minutes.yaml"]
    document = pypdfium2.PdfDocument(written[1])
    pages = [" ".join(page.get_textpage().get_text_range().split()) for page in document]
    assert len(pages) == 2
    for shown in ("4 decisions needed today", "Decisions needed", "Quiet models", "toy_mortgage@v1.0.0", "Overdue"):
        assert shown in pages[0]
    assert pages[0].index("Decisions needed") < pages[0].index("Quiet models")
    for shown in (
        "drift of income",
        "0.3127",
        "nobody has dealt with it",
        "Too few labels",
        "Fairness",
        "(also v1.0.0)",
    ):
        assert shown in pages[1]
    assert prepared.checkpoint is not None
    assert prepared.checkpoint.digest in pages[0]
    assert pages[0].index("Actions of earlier reviews") < pages[0].index("30 of 30"), "the first page is the summary"
    with pikepdf.open(written[1]) as pdf:
        assert pdf.attachments["review.json"].get_file().read_bytes() == written[0].read_bytes()
        assert pdf.Root.MarkInfo.Marked
    again = tmp_path / "again.pdf"
    render_review(written[0].read_bytes(), again)
    assert again.read_bytes() == written[1].read_bytes()
    with pytest.raises(ReportError, match="no review"):
        render_review(b"{}", again)


def state_of(week: Week) -> Any:
    return week.bank.state()


def test_the_template_of_the_minutes_can_be_read_once_somebody_was_there(
    week: Week, prepared: Review, tmp_path: Path
) -> None:
    path = tmp_path / "minutes.yaml"
    path.write_text(template(prepared))
    with pytest.raises(ReviewError, match="attendance") as error:
        read_minutes(path, prepared, "d" * 64, state_of(week))
    assert error.value.line == 3
    path.write_text(template(prepared).replace("attendance: []", "attendance: [olga]"))
    made = read_minutes(path, prepared, "d" * 64, state_of(week))
    assert made.attendance == ("Olga Owner",)
    assert "Out of limits" in path.read_text()


@pytest.mark.parametrize(
    ("old", "new", "what", "line"),
    [
        ("review: 2026-W07", "review: 2026-W08", "another review", 1),
        ("held: 2026-02-10", "held: 10.2.2026", "held", 2),
        ("[Olga Owner, Vera Validator, Rik Risk]", "[Olga Owner, Ghost Person]", "knows no 'Ghost Person'", 3),
        ("absent: [Eli Engineer]", "absent: [Eli Engineeer]", "did you mean", 4),
        ("by: Rik Risk", "by: Ghost Person", "knows no 'Ghost Person'", 6),
        ("owner: olga\n", "owner: olge\n", "knows no 'olge'", 9),
        ("due: 2026-02-17", "due: 2026-02-01", "due before the meeting", 10),
        ("due: 2026-02-17", "due: soon", "due", 10),
        ("    model: toy_pd\n", "    model: toy_dp\n", "no model 'toy_dp'", 11),
        ("    owner: olga\n", "", "owner", 8),
        ("    owner: olga\n", "    ower: olga\n", "actions.0.ower", 8),
        ("done: [2026-W05-1]", "done: [2026-W05-9]", "no open action '2026-W05-9'", 13),
        ("by: Rik Risk, model: toy_pd", "by: Rik Risk, model: other", "no model 'other'", 6),
        ("notes: Short week.", "notes: [", "not valid YAML", None),
    ],
)
def test_a_mistake_in_the_minutes_is_told_with_its_line(
    week: Week, prepared: Review, tmp_path: Path, old: str, new: str, what: str, line: int | None
) -> None:
    assert old in MINUTES
    path = tmp_path / "minutes.yaml"
    path.write_text(MINUTES.replace(old, new))
    with pytest.raises(ReviewError) as error:
        read_minutes(path, prepared, "d" * 64, state_of(week))
    assert what in str(error.value)
    assert error.value.file == str(path)
    assert line is None or error.value.line == line


def test_minutes_are_recorded_signed_and_wait_in_inboxes(tmp_path: Path, folder: Path, prepared: Review) -> None:
    week = Week(tmp_path / "own")
    with open_ledger(week.address, writer="review") as ledger:
        made = record(week.bank, ledger, folder, folder / "minutes.yaml")
        assert [e.key for e in ledger.read(["action"])] == ["2026-W07-1", "2026-W07-2"]
        assert [e.json()["review"] for e in ledger.read(["review"])] == ["2026-W07"]
    assert made.actions[0].owner == "Olga Owner", "a principal is written as the person"
    with pytest.raises(ReviewError, match="recorded minutes"):
        write_review(prepared, folder)

    done = sign(week.bank, key("rik"), folder)
    event = done.state.events[done.position]
    assert event.type == "review_signed"
    assert event.body["digest"] == sha256_hex((folder / "minutes.json").read_bytes())
    assert prepared.checkpoint is not None
    assert event.body["checkpoint"] == prepared.checkpoint.digest
    assert [(t.subject, t.due) for t in done.state.tasks("olga") if t.kind == "action"] == [
        ("2026-W07-1", "2026-02-17")
    ]
    assert {t.subject for t in done.state.tasks("vera") if t.kind == "action"} == {"2026-W05-2", "2026-W07-2"}

    again = sign(week.bank, key("vera"), folder)
    assert again.state.events[again.position].body["actions"] == [], "an action waits once, however many sign"
    assert {t.subject for t in again.state.tasks("vera") if t.kind == "action"} == {"2026-W05-2", "2026-W07-2"}
    with pytest.raises(ReviewError, match="signed review 2026-W07 already"):
        sign(week.bank, key("rik"), folder)
    with pytest.raises(RegistryError, match="belongs to no principal"):
        sign(week.bank, key("stranger"), folder)

    (folder / "minutes.yaml").write_text(MINUTES.replace("Short week.", "Long week."))
    with open_ledger(week.address, writer="review") as ledger, pytest.raises(ReviewError, match="other minutes"):
        record(week.bank, ledger, folder, folder / "minutes.yaml")

    with open_ledger(week.address) as ledger:
        following = prepare(week.sources(ledger), week.clock.now() + timedelta(days=7), sample=0)
    assert {(a.id, a.status) for a in following.actions} == {
        ("2026-W05-1", "done"), ("2026-W05-2", "open"), ("2026-W07-1", "open"), ("2026-W07-2", "overdue"),
    }  # fmt: skip


def test_a_review_that_was_changed_after_the_minutes_is_not_signed(tmp_path: Path, folder: Path) -> None:
    week = Week(tmp_path / "own", bad=False)
    (folder / "minutes.yaml").write_text(MINUTES.replace("done: [2026-W05-1]", "done: []"))
    with open_ledger(week.address, writer="review") as ledger:
        record(week.bank, ledger, folder, folder / "minutes.yaml")
    path = folder / "review.json"
    path.write_bytes(path.read_bytes().replace(b'"Test bank"', b'"Best bank"'))
    with pytest.raises(ReviewError, match="another version of review"):
        sign(week.bank, key("rik"), folder)
    path.write_bytes(b"{}")
    with pytest.raises(ReviewError, match="no review"):
        read_review(folder)
    path.unlink()
    with pytest.raises(ReviewError, match="no such file"):
        read_review(folder)


def test_minutes_that_are_none_are_not_signed(tmp_path: Path, folder: Path, week: Week) -> None:
    with pytest.raises(ReviewError, match="no such file"):
        sign(week.bank, key("rik"), folder)
    (folder / "minutes.json").write_bytes(b"{}")
    with pytest.raises(ReviewError, match="no minutes"):
        sign(week.bank, key("rik"), folder)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Week]:
    own = Week(tmp_path / "own")
    monkeypatch.chdir(own.root)
    monkeypatch.delenv("COUNTERMARK_TRUST_ROOT", raising=False)
    return own


def test_a_week_to_come_is_not_reviewed_and_no_checkpoint_says_it_was(inside: Week) -> None:
    def prepared(as_of: str) -> Any:
        arguments = ["review", "prepare", "--as-of", as_of, "--json", "--sample", "0", "--ledger", inside.address]
        return CliRunner().invoke(app, arguments)

    later = prepared("2099-01-01")
    assert isinstance(later.exception, ReviewError)
    assert "a week to come cannot be reviewed" in str(later.exception)
    with open_ledger(inside.address) as ledger:
        assert ledger.latest("checkpoint") is None
    first, again = (json.loads(prepared("2026-02-10T08:00Z").output) for _ in range(2))
    assert first == again, "what is prepared again is bounded by the checkpoint that was taken then"
    assert first["checkpoint"]["at"] > first["as_of"]


def test_the_commands_play_a_review(inside: Week) -> None:
    def run(*args: str) -> Any:
        return CliRunner().invoke(app, ["review", *args])

    early = run("sign", "--key", str(key("rik").path))
    assert isinstance(early.exception, ReviewError)
    at = ["--ledger", inside.address]
    result = run("prepare", "--as-of", "2026-02-10T08:00Z", "--sample", "10", *at)
    assert result.exit_code == 0, result.output
    assert "today   toy_pd" in result.output
    assert "quiet   toy_cards" in result.output
    assert "10 of 10 replayed decisions identical" in result.output
    where = inside.root / "reviews" / "2026-W07"
    (where / "minutes.yaml").write_text(MINUTES)
    result = run("record", "--minutes", str(where / "minutes.yaml"), *at)
    assert result.exit_code == 0, result.output
    assert "1 decisions, 2 actions, 1 earlier actions done" in result.output
    result = run("sign", "--key", str(key("rik").path))
    assert result.exit_code == 0, result.output
    assert "2026-W07-1 waits in the inbox of Olga Owner until 2026-02-17" in result.output
    told = CliRunner().invoke(app, ["inbox", "--as", "olga"])
    assert told.exit_code == 0, told.output
    assert "Explain the drift of income (due 2026-02-17)" in told.output


def test_findings_of_production_wait_in_their_owners_inbox(inside: Week) -> None:
    def told(who: str, *more: str) -> str:
        result = CliRunner().invoke(app, ["inbox", "--as", who, *more])
        assert result.exit_code == 0, result.output
        return str(result.output)

    olga = told("olga", "--ledger", inside.address)
    day = iso(AS_OF)[:10]
    assert f"monitor   toy_pd: Fail, drift (PSI) of income is 0.3127 on 812 rows; limit 0.25 (as of {day}, " in olga
    assert olga.index("Fail, drift") < olga.index("Watch, realised AUC")
    assert "monitor" not in told("vera", "--ledger", inside.address)
    assert "monitor" not in told("olga"), "the bank's own folder has no ledger"
    assert not (inside.root / "ledger").exists()
    with open_ledger(inside.address) as ledger:
        (drift,) = [f for f in standing_findings(ledger).values() if f.check == "feature_psi"]
        closed = msgspec.structs.replace(drift, status="closed", light=Light.PASS)
        ledger.append("finding", drift.id, encode(closed), drift.at)
    assert "drift (PSI)" not in told("olga", "--ledger", inside.address)


def test_the_prepared_review_as_json(inside: Week, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "render_review", lambda data, out: out.write_bytes(b"%PDF"))
    arguments = ["review", "prepare", "--as-of", "2026-02-10", "--json", "--sample", "0"]
    arguments += ["--ledger", inside.address, "--to", str(tmp_path / "to")]
    told = json.loads(CliRunner().invoke(app, arguments).output)
    assert told["id"] == "2026-W07"
    assert (tmp_path / "to" / "review.json").is_file()
    assert encode(msgspec.convert(told, Review))
