"""The weekly review as it is prepared from what is written down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pikepdf
import pypdfium2
import pytest

from countermark.errors import RegistryError, ReportError
from countermark.ledger import open_ledger
from countermark.records.clock import iso
from countermark.records.decision import decode, encode
from countermark.records.lights import Light
from countermark.records.review import Review
from countermark.records.watch import ModelWatch
from countermark.report.render import render_review
from countermark.review.prepare import prepare, review_id
from tests.review.week import AS_OF, GOOD, PLAN, Week, watch
from tests.review.written import put


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
    written = put(prepared, tmp_path / "r", str(tmp_path / "ledger"))
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
