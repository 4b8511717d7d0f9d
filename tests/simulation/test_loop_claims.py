"""Each safety claim of ``make loop`` fails, and ends the loop non-zero, when what it claims is not so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from countermark.errors import SimulationError
from countermark.features.audit import AuditReport, Mismatch
from countermark.governance.check import Check
from countermark.ledger.opening import open_ledger
from countermark.simulation import loop
from countermark.simulation.bank import MODEL
from countermark.simulation.claims import Claims

NOW = "2026-04-01T00:00:00.000000Z"


def finding(subject: str, day: str) -> SimpleNamespace:
    """A new finding of input drift."""
    return SimpleNamespace(check="feature_psi", status="open", subject=subject, at=f"{day}T00:00:00.000000Z")


def good(folder: Path) -> Any:
    """The end of a life that went as claimed, around a real ledger."""
    ledger = open_ledger(folder / "ledger")
    for k in range(3):
        ledger.append("event", f"e{k}", b'{"n":%d}' % k, NOW)
    release = SimpleNamespace(version="1.0.0")
    replayed = [SimpleNamespace(identical=True, record=SimpleNamespace(release=release)) for _ in range(5)]
    life = SimpleNamespace(
        rollouts=[
            SimpleNamespace(candidate="2.0.0", ended="completed"),
            SimpleNamespace(candidate="3.0.0", ended="rolled_back"),
        ],
        champion="2.0.0",
        runs=[SimpleNamespace(findings=(finding("income", "2026-03-20"),))],
        refused={},
        replay=lambda count: replayed[:count],
        audited=AuditReport(5, 40, 40, ()),
        ledger=ledger,
    )
    life.audit = lambda: life.audited
    story: Any = object.__new__(loop._Story)
    story.say = story.said = [].append
    story.claims = Claims(story.say)
    story.scale = loop.Scale(replays=5)
    story.reviews = [f"2026-W{week:02d}" for week in range(1, 14)]
    story.desk = SimpleNamespace(bank=None)
    story.life = life
    return story


def not_turned_back(story: Any, _folder: Path) -> None:
    story.life.rollouts[1].ended = "completed"


def not_promoted(story: Any, _folder: Path) -> None:
    story.life.rollouts[0].ended = "inconclusive"


def faulty_answers(story: Any, _folder: Path) -> None:
    story.life.champion = "3.0.0"


def drift_unseen(story: Any, _folder: Path) -> None:
    story.life.runs[0].findings = (finding("amount", "2026-03-20"),)


def drift_too_early(story: Any, _folder: Path) -> None:
    story.life.runs[0].findings += (finding("amount", "2026-02-01"),)


def review_missed(story: Any, _folder: Path) -> None:
    story.reviews[12] = story.reviews[11]


def request_refused(story: Any, _folder: Path) -> None:
    story.life.refused["loan-000007"] = "field 'income' of a request is refused: minimum"


def replay_differs(story: Any, _folder: Path) -> None:
    story.life.replay(5)[3].identical = False


def too_few_replays(story: Any, _folder: Path) -> None:
    few = story.life.replay(4)
    story.life.replay = lambda _count: few


def vector_differs(story: Any, _folder: Path) -> None:
    story.life.audited = AuditReport(5, 40, 39, (Mismatch("loan-000001", "income", 1.0, 2.0),))


def nothing_audited(story: Any, _folder: Path) -> None:
    story.life.audited = AuditReport(0, 0, 0, ())


def vectors_left_out(story: Any, _folder: Path) -> None:
    story.life.audited = AuditReport(5, 40, 40, (), other_views=1)


def ledger_altered(story: Any, folder: Path) -> None:
    story.life.ledger.close()
    (file,) = [path for path in (folder / "ledger").rglob("*") if path.is_file() and path.suffix not in (".lock", "")]
    with sqlite3.connect(file) as connection:
        triggers = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE entries SET payload = ? WHERE seq = 1", (b'{"n":9}',))
    story.life.ledger = open_ledger(folder / "ledger")


PLANTED: list[tuple[Callable[[Any, Path], None], str]] = [
    (not_promoted, "v2 went through shadow and canary to full"),
    (not_turned_back, "v3 was turned back by itself"),
    (faulty_answers, "v2 answers"),
    (drift_unseen, "the drift of incomes was found"),
    (drift_too_early, "no input drift was reported before it began"),
    (review_missed, "thirteen weekly reviews were held and signed"),
    (request_refused, "no request was refused"),
    (replay_differs, "5 replayed decisions are identical to the last bit"),
    (too_few_replays, "5 replayed decisions are identical to the last bit"),
    (vector_differs, "every served vector equals the one made offline"),
    (nothing_audited, "every served vector equals the one made offline"),
    (vectors_left_out, "every served vector equals the one made offline"),
    (ledger_altered, "the ledger verifies"),
]


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(loop, "check_all", lambda _bank: [Check("log", "holds", "")])
    made = good(tmp_path)
    yield made
    made.life.ledger.close()


def test_a_life_that_went_well_holds_every_claim(story: Any) -> None:
    story._proofs()
    assert story.claims.failed == []
    assert story.claims.held == 11
    story.claims.close(1.0)


@pytest.mark.parametrize(("fault", "claim"), PLANTED, ids=lambda one: getattr(one, "__name__", None))
def test_a_planted_fault_fails_its_claim_alone(
    fault: Callable[[Any, Path], None], claim: str, story: Any, tmp_path: Path
) -> None:
    fault(story, tmp_path)
    story._proofs()
    assert story.claims.failed == [claim]
    with pytest.raises(SimulationError, match="did not go as claimed") as caught:
        story.claims.close(1.0)
    assert caught.value.exit_code == 16


def test_a_release_that_does_not_verify_fails_its_claim(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "check_all", lambda _bank: [Check("log", "holds", ""), Check("tag", "fails", "moved")])
    story._proofs()
    assert story.claims.failed == ["releases, tags, packs and log verify"]


def test_a_developer_who_may_approve_their_own_model_fails_the_claim(story: Any) -> None:
    def release(_version: str) -> None:
        story.desk.say("dana proposes sim_loan@v1.0.0")

    story.desk = SimpleNamespace(
        build=lambda _what: None, say=story.say, release=release, self_approval=lambda _version: None
    )
    story._first_release()
    assert story.claims.failed == ["the developer could not approve their own model"]


@pytest.mark.parametrize(
    ("labelled", "verdict", "claim"),
    [
        (0, "no difference", "the challenger was compared on matured labels"),
        (9, "worse", "the challenger is not worse"),
    ],
)
def test_a_challenger_without_labels_or_worse_fails_its_claim(
    labelled: int, verdict: str, claim: str, story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auc = SimpleNamespace(champion=0.7, challenger=None)
    found = SimpleNamespace(decisions=9, labelled=labelled, events=1, auc=auc, verdict=verdict)
    monkeypatch.setattr(loop, "read_production", lambda _ledger, _now: {MODEL: None})
    monkeypatch.setattr(loop, "pin", lambda _ledger, _as_of, _now: None)
    monkeypatch.setattr(loop, "compare", lambda *_names, **_how: found)
    monkeypatch.setattr(loop, "as_document", lambda _found: {})
    monkeypatch.setattr(loop._Story, "_start", lambda _self, _ref: None)
    story.clock = SimpleNamespace(now=lambda: None)
    story.desk = SimpleNamespace(root=tmp_path)
    story.life.challenge = lambda _ref, **_how: None
    story.v2 = None
    story._promote()
    assert story.claims.failed == [claim]


def test_the_loop_ends_with_an_error_where_a_claim_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def place(_folder: Path | None) -> Iterator[Path]:
        yield tmp_path

    class Story:
        def __init__(self, _place: Path, _scale: Any, _say: Any, claims: Claims) -> None:
            self.claims = claims

        def play(self) -> None:
            self.claims.hold("something is so", True)
            self.claims.hold("something else is so", False)

    monkeypatch.setattr(loop, "workplace", place)
    monkeypatch.setattr(loop, "_Story", Story)
    said: list[str] = []
    with pytest.raises(SimulationError) as caught:
        loop.play(said.append)
    assert caught.value.got == "something else is so"
    assert said[:2] == ["✓ something is so", "✗ something else is so"]
    assert "1 claims held, 1 failed" in said[2]
