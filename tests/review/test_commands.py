"""The commands of a review and the inbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import ReviewError
from countermark.ledger import open_ledger
from countermark.monitoring.findings import standing_findings
from countermark.records.clock import iso
from countermark.records.decision import encode
from countermark.records.lights import Light
from countermark.records.review import Review
from countermark.review import signing
from tests.registry.people import key
from tests.review.week import AS_OF, Week
from tests.review.written import MINUTES


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
    result = run("sign", "--key", str(key("rik").path), *at)
    assert result.exit_code == 0, result.output
    assert "2026-W07-1 waits in the inbox of Olga Owner until 2026-02-17" in result.output
    pages = where / "review.pdf"
    for damaged, outcome in ((False, "ok"), (True, "FAIL")):
        if damaged:
            pages.write_bytes(pages.read_bytes() + b"%")
        verified = CliRunner().invoke(app, ["verify", str(pages)])
        assert (verified.exit_code == 0) is not damaged, verified.output
        assert verified.output.startswith(outcome), verified.output
    assert "altered since it was signed: review.pdf" in CliRunner().invoke(app, ["verify", "--all"]).output
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
        ahead = msgspec.structs.replace(drift, id="toy_pd/auc/score", status="closed", at="2099-01-01T00:00:00.000000Z")
        ledger.append("finding", ahead.id, encode(ahead), ahead.at)
    left = told("olga", "--ledger", inside.address)
    assert "drift (PSI)" not in left
    assert "Watch, realised AUC" in left, "what is dated ahead says nothing today"


def test_the_prepared_review_as_json(inside: Week, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "render_review", lambda data, out: out.write_bytes(b"%PDF"))
    arguments = ["review", "prepare", "--as-of", "2026-02-10", "--json", "--sample", "0"]
    arguments += ["--ledger", inside.address, "--to", str(tmp_path / "to")]
    told = json.loads(CliRunner().invoke(app, arguments).output)
    assert told["id"] == "2026-W07"
    assert (tmp_path / "to" / "review.json").is_file()
    assert encode(msgspec.convert(told, Review))
