"""The file of a decision: complete, one page, and its second opinion is called one."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pikepdf
import pypdfium2
import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import ReplayError, ReportError
from countermark.ledger import open_ledger
from countermark.records.decision import (
    DecisionRecord,
    DispositionRecord,
    GivenReason,
    OutcomeRecord,
    OverrideRecord,
    ViewReading,
    encode,
)
from countermark.records.decision_file import DecisionFile, FileDifference
from countermark.records.profile import NumericProfile
from countermark.records.release import ReleaseRef
from countermark.replay.decision_file import contributions, decision_file
from countermark.replay.second_opinion import _numeric_bins, explain
from countermark.replay.writing import file_bytes, read_file, write_decision_file
from countermark.report.render import render_decision_file
from tests.registry.people import key
from tests.replay.test_replay import Production, produce

MADE = "2026-11-22T18:00:00.000000Z"
LATER = "2026-03-01T10:00:00.000000Z"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Production:
    return produce(tmp_path_factory.mktemp("production"), 120)


@pytest.fixture(scope="module")
def declined(production: Production) -> DecisionRecord:
    return next(record for record in production.records if record.decision == "decline")


@pytest.fixture(scope="module")
def made(production: Production, declined: DecisionRecord) -> DecisionFile:
    override = OverrideRecord(decision=declined.id, at=LATER, by="m.keller", outcome="approve", reason="Second income")
    outcome = OutcomeRecord(
        model="toy_pd", decision=declined.id, entity=None, observed_at=LATER, known_at=LATER, value=0, source="core"
    )
    disposition = DispositionRecord(decision=declined.id, at=LATER, by="a.b", disposition="dismissed", note="Checked")
    with open_ledger(production.address) as ledger:
        ledger.append("override", declined.id, encode(override), LATER)
        ledger.append("outcome", declined.id, encode(outcome), LATER)
        ledger.append("disposition", declined.id, encode(disposition), LATER)
    with open_ledger(production.address, writer="checkpoint") as ledger:
        ledger.checkpoint(LATER)
    with open_ledger(production.address) as ledger:
        replayer = production.replayer(ledger)
        replayed = replayer.with_afterlife(replayer.replay(declined.id))
        assert replayed.record is not None
        assert replayed.release is not None
        opinion = explain("lime", replayed.record, replayed.release, seed=5)
        return decision_file(replayed, replayer.state, made_at=MADE, second_opinion=opinion)


def text_of(path: Path) -> tuple[str, int]:
    document = pypdfium2.PdfDocument(path)
    pages = [page.get_textpage().get_text_range() for page in document]
    return " ".join(" ".join(pages).split()), len(pages)


def test_the_file_tells_what_was_known_decided_approved_and_proven(
    made: DecisionFile, declined: DecisionRecord
) -> None:
    assert made.identical
    assert (made.decision, made.favourable, made.grade) == ("decline", False, declined.grade)
    assert made.p == declined.probability
    assert {item.name: item.value for item in made.inputs} == declined.features
    assert [(a.role, a.person) for a in made.release.approvals] == [
        ("validator", "Vera Validator"),
        ("risk", "Rik Risk"),
    ]
    assert made.release.authorised_at is not None
    assert made.release.published_by == "Eli Engineer", "a person, as those who proposed and approved"
    assert made.scale == "quantile"
    assert made.proof.included, "the checkpoint covers the entry"
    assert made.proof.bundle == declined.release.bundle
    assert [item.kind for item in made.later] == ["override", "outcome", "disposition"]
    assert made.reasons == declined.reasons


def test_it_names_whose_key_was_revoked_since(tmp_path: Path) -> None:
    """Later files tell who approved then, and that one of them is not believed any more."""
    production = produce(tmp_path, 4)
    log, record = production.bank.log, production.records[0]
    ref = ReleaseRef(record.model, record.release.version)
    vera = next(a for a in production.state.release(ref).approvals if a.principal == "vera")
    body = {"public": key("vera").public, "position": vera.position, "reason": "stolen"}
    log.add("key_revocation", body, by="rik")
    production.bank.write()
    state = production.bank.directory.state(datetime(2026, 11, 22, tzinfo=UTC))
    assert [a.principal for a in state.release(ref).approvals] == ["rik"]
    with open_ledger(production.address) as ledger:
        replayed = production.replayer(ledger).replay(record.id)
    told = decision_file(replayed, state, made_at=MADE).release.approvals
    assert [(a.person, a.revoked) for a in told] == [("Vera Validator", vera.position), ("Rik Risk", None)]
    _, page = write_decision_file(decision_file(replayed, state, made_at=MADE), tmp_path)
    assert f"key revoked from log position {vera.position} on: it counts no more" in text_of(page)[0]


def test_the_contributions_add_up_to_the_reasons(production: Production, declined: DecisionRecord) -> None:
    """Each reason of the test policy has one input, so that its contribution is the input's, bit by bit."""
    with open_ledger(production.address) as ledger:
        replayed = production.replayer(ledger).replay(declined.id)
    assert replayed.release is not None
    policy = replayed.release.decider.policy
    assert policy is not None
    worth = contributions(declined, replayed.release)
    for reason in declined.reasons:
        (name,) = policy.reasons[reason.code].features
        assert worth[name].hex() == reason.contribution


def test_it_is_one_page_that_carries_the_json(made: DecisionFile, tmp_path: Path) -> None:
    written = write_decision_file(made, tmp_path)
    assert [path.suffix for path in written] == [".json", ".pdf"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
    assert read_file(written[0].read_bytes()) == made
    text, pages = text_of(written[1])
    assert pages == 1
    for shown in (
        "Decline",
        "Identical",
        "Because of",
        "Vera Validator",
        "Second opinion",
        "m.keller",
        "to the last bit",
    ):
        assert shown in text
    with pikepdf.open(written[1]) as pdf:
        assert pdf.attachments["decision.json"].get_file().read_bytes() == file_bytes(made)
        assert pdf.Root.MarkInfo.Marked
        assert str(pdf.Root.Lang) == "en"
        metadata = bytes(pdf.Root.Metadata.read_bytes())
        assert b"<pdfaid:part>3</pdfaid:part>" in metadata.replace(b'pdfaid:part="3"', b"<pdfaid:part>3</pdfaid:part>")


def test_the_same_file_gives_the_same_page(made: DecisionFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a.pdf", tmp_path / "b.pdf"
    render_decision_file(file_bytes(made), first)
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    monkeypatch.setenv("LC_ALL", "C")
    render_decision_file(file_bytes(made), second)
    assert first.read_bytes() == second.read_bytes()


def test_the_page_says_what_a_grade_a_reason_and_a_second_opinion_are_worth(made: DecisionFile, tmp_path: Path) -> None:
    def shown(**changes: object) -> str:
        return text_of(write_decision_file(msgspec.structs.replace(made, **changes), tmp_path)[1])[0]

    first = GivenReason(code="R1", text="Debt", contribution=(1.5).hex())
    least = GivenReason(code="R2", text="Region", contribution=(0.013).hex())
    assert made.second_opinion is not None
    thin = msgspec.structs.replace(made.second_opinion, fit=0.01)
    text = shown(reasons=(first, least), second_opinion=thin)
    assert "Debt R1, adds +1.500 Region" in text
    assert "R2, adds +0.013, hardly counts" in text
    assert "Explains little Do not rely on it" in text
    assert "equal shares of its calibration sample" in text
    assert "master scale" not in text
    other = shown(scale="fixed", second_opinion=msgspec.structs.replace(thin, fit=0.9), reasons=(first,))
    assert "on the master scale" in other
    assert "Explains little" not in other
    assert "scale" not in shown(scale="", second_opinion=None), "a file that does not say is not guessed"


def test_a_difference_is_told_in_big_words(made: DecisionFile, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(
        made,
        identical=False,
        second_opinion=None,
        differences=(FileDifference(what="scorer", recorded="a" * 64, found="b" * 64),) * 3,
        notes=("Replayed in another environment.",),
    )
    text, pages = text_of(write_decision_file(wrong, tmp_path)[1])
    assert pages == 1
    assert "Different" in text
    assert "Identical" not in text
    assert "Not as it was recorded: scorer." in text
    assert "another environment" in text


def test_a_long_file_is_still_one_page_and_says_what_it_leaves_out(made: DecisionFile, tmp_path: Path) -> None:
    more = tuple(
        msgspec.structs.replace(made.inputs[0], name=f"input_{k:03d}", meaning="A long meaning " * 10)
        for k in range(80)
    )
    long = msgspec.structs.replace(
        made, inputs=more, later=made.later * 10, release=msgspec.structs.replace(
            made.release, approvals=made.release.approvals * 5
        )
    )  # fmt: skip
    text, pages = text_of(write_decision_file(long, tmp_path)[1])
    assert pages == 1
    assert "smaller ones in the attached file" in text
    endless = msgspec.structs.replace(made, second_opinion=None, reasons=made.reasons[:1] * 120)
    with pytest.raises(ReportError, match="does not fit one page"):
        write_decision_file(endless, tmp_path)


def test_an_id_does_not_choose_the_path(made: DecisionFile, tmp_path: Path) -> None:
    written = write_decision_file(msgspec.structs.replace(made, id="../../etc/x y"), tmp_path / "inside")
    assert {path.parent for path in written} == {tmp_path / "inside"}
    assert re.fullmatch(r"decision_~[0-9a-f]{64}\.json", written[0].name)


def test_what_is_no_decision_file_is_refused(tmp_path: Path, made: DecisionFile) -> None:
    with pytest.raises(ReplayError, match="no decision file"):
        read_file(b"{}")
    with pytest.raises(ReportError, match="no decision file"):
        render_decision_file(b"{}", tmp_path / "x.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplayError, match="cannot be written"):
        write_decision_file(made, tmp_path / "file")


def test_without_record_or_release_there_is_no_file(production: Production) -> None:
    with open_ledger(production.address) as ledger:
        replayer = production.replayer(ledger)
        replayed = replayer.replay(production.records[0].id)
        for gone in ("record", "release"):
            broken = replace_field(replayed, gone)
            with pytest.raises(ReplayError, match="has no file"):
                decision_file(broken, replayer.state, made_at=MADE)


def replace_field(replayed: object, name: str) -> object:
    from dataclasses import replace

    return replace(replayed, **{name: None})


def test_an_expired_feature_is_marked(production: Production, tmp_path: Path) -> None:
    record = production.records[0]
    seen = ViewReading(view="age", version="v" * 64, as_of=LATER, expired=("age",))
    with open_ledger(production.address) as ledger:
        changed = msgspec.structs.replace(record, id="viewed", views=(seen,))
        ledger.append("decision", changed.id, encode(changed), changed.at)
        replayer = production.replayer(ledger)
        replayed = replayer.replay("viewed")
        assert replayed.identical
        file = decision_file(replayed, replayer.state, made_at=MADE)
    assert file.views == (seen,)
    assert not file.second_opinion


def test_the_second_opinion_is_seeded_and_finds_what_drives_the_score(
    production: Production, declined: DecisionRecord
) -> None:
    with open_ledger(production.address) as ledger:
        release = production.replayer(ledger).replay(declined.id).release
    assert release is not None
    first = explain("lime", declined, release, seed=1)
    assert first == explain("lime", declined, release, seed=1)
    assert first != explain("lime", declined, release, seed=2)
    assert {line.input for line in first.lines} == set(declined.features)
    exact = contributions(declined, release)
    strongest = max(exact, key=lambda name: abs(exact[name]))
    told = next(line for line in first.lines if line.input == strongest)
    assert told.weight * told.exact > 0, "both say that it raises, or lowers, the risk"
    with pytest.raises(ReplayError, match="no such second opinion"):
        explain("shap", declined, release)


def test_a_missing_value_is_explained_as_missing(production: Production) -> None:
    record = next(r for r in production.records if r.features["income"] is None)
    with open_ledger(production.address) as ledger:
        release = production.replayer(ledger).replay(record.id).release
    assert release is not None
    opinion = explain("lime", record, release)
    assert "income is missing" in {line.stated for line in opinion.lines}


@pytest.mark.parametrize(
    ("value", "name"),
    [(1.0, "x ≤ 1"), (1.5, "x in 1 to 2"), (2.0, "x in 1 to 2"), (3.0, "x > 2"), (None, "x is missing")],
)
def test_a_value_stands_in_its_bin(value: float | None, name: str) -> None:
    bins = _numeric_bins(
        "x", value, NumericProfile(edges=(1.0, 2.0), counts=(1, 1, 2), missing=0, minimum=0.0, maximum=9.0)
    )
    assert bins.names[bins.own] == name
    assert bins.values[bins.own] == value
    assert [int((bins.pool == k).sum()) for k in range(4)] == [250, 250, 500, 0]


def test_an_input_without_a_histogram_counts_alike_everywhere() -> None:
    bins = _numeric_bins("x", 4.0, NumericProfile(edges=(), counts=(0,), missing=0))
    assert bins.names[0] == "x at any value"
    assert math.isclose(bins.pool.size, 1000)


def test_two_ids_never_share_a_file(made: DecisionFile, tmp_path: Path) -> None:
    """Ledgers from before the rule of ids may hold any text as one."""
    ids = ("a/b", "a b", "a_b", "../a", "x" * 500, "x" * 501)
    for identity in ids:
        written = write_decision_file(msgspec.structs.replace(made, id=identity), tmp_path)
        assert {path.parent for path in written} == {tmp_path}
    found = {read_file(path.read_bytes()).id for path in tmp_path.glob("*.json")}
    assert found == set(ids)
    assert (tmp_path / "decision_a_b.json").exists()


def test_the_command_writes_both_and_prints_the_same_json(
    production: Production, declined: DecisionRecord, tmp_path: Path
) -> None:
    options = ["--releases", str(production.bank.folder), "--ledger", production.address]
    options += ["--trust-root", production.bank.trust_root]
    to = ["--to", str(tmp_path), "--explain", "lime"]
    result = CliRunner().invoke(app, ["replay", declined.id, *to, *options])
    assert result.exit_code == 0, result.output
    assert "second opinion (LIME" in result.output
    fit = json.loads((tmp_path / f"decision_{declined.id}.json").read_text())["second_opinion"]["fit"]
    assert ("It explains little: do not rely on it" in result.output) is (fit < 0.5)
    assert str(tmp_path / f"decision_{declined.id}.pdf") in result.output
    told = json.loads(CliRunner().invoke(app, ["replay", declined.id, "--json", *options]).output)
    assert told["format"] == "countermark/decision_file/1"
    assert told["notes"], "the test's records name an environment that is not this one"
    assert told["identical"] is True
    assert datetime.fromisoformat(told["made_at"]).tzinfo is UTC or told["made_at"].endswith("Z")
