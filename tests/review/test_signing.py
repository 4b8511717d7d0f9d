"""Minutes are checked line by line; what is signed is bound, and stays so."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countermark.errors import RegistryError, ReviewError
from countermark.governance.check import check_all
from countermark.ledger import open_ledger
from countermark.records.clock import iso
from countermark.records.decision import as_document
from countermark.records.digest import canonical_json, pretty_json, sha256_hex
from countermark.records.review import Minutes, PreparedReview, Review
from countermark.review.minutes import read_minutes, template
from countermark.review.prepare import prepare
from countermark.review.signing import read_review, record, sign
from tests.registry.people import key
from tests.review.week import AS_OF, Week
from tests.review.written import MINUTES, put


def state_of(week: Week) -> Any:
    return week.bank.state()


def bound(made: Review) -> PreparedReview:
    return PreparedReview(review=made.id, as_of=made.as_of, digest="d" * 64, pages="e" * 64)


def test_the_template_of_the_minutes_can_be_read_once_somebody_was_there(
    week: Week, prepared: Review, tmp_path: Path
) -> None:
    path = tmp_path / "minutes.yaml"
    path.write_text(template(prepared))
    with pytest.raises(ReviewError, match="attendance") as error:
        read_minutes(path, prepared, bound(prepared), state_of(week))
    assert error.value.line == 3
    path.write_text(template(prepared).replace("attendance: []", "attendance: [olga]"))
    made = read_minutes(path, prepared, bound(prepared), state_of(week))
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
        ("held: 2026-02-10", "held: 2026-02-09", "before the instant of its review", 2),
        ("held: 2026-02-10", "held: 2031-02-10", "the meeting is to come", 2),
        ("[Olga Owner, Vera Validator, Rik Risk]", "[Olga Owner, olga]", "'olga' stands twice under 'attendance'", 3),
        ("absent: [Eli Engineer]", "absent: [Eli Engineer, eli]", "'eli' stands twice under 'absent'", 4),
        ("absent: [Eli Engineer]", "absent: [RIK RISK]", "'RIK RISK' was there and was absent", 4),
        ("text: Version 2 stays off", 'text: "  "', "a text is blank", 6),
        ("text: Explain the drift of income", 'text: " "', "a text is blank", 8),
        ("done: [2026-W05-1]", "done: [2026-W05-1, 2026-W05-1]", "'2026-W05-1' stands twice under 'done'", 13),
    ],
)
def test_a_mistake_in_the_minutes_is_told_with_its_line(
    week: Week, prepared: Review, tmp_path: Path, old: str, new: str, what: str, line: int | None
) -> None:
    assert old in MINUTES
    path = tmp_path / "minutes.yaml"
    path.write_text(MINUTES.replace(old, new))
    with pytest.raises(ReviewError) as error:
        read_minutes(path, prepared, bound(prepared), state_of(week))
    assert what in str(error.value)
    assert error.value.file == str(path)
    assert line is None or error.value.line == line


def test_minutes_are_recorded_signed_and_wait_in_inboxes(tmp_path: Path, folder: Path, prepared: Review) -> None:
    week = Week(tmp_path / "own")
    with open_ledger(week.address, writer="review") as ledger:
        made = record(week.bank, ledger, folder, folder / "minutes.yaml")
        assert [e.key for e in ledger.read(["action"])] == ["2026-W07-1", "2026-W07-2"]
        written = [entry.json() for entry in ledger.read(["review"])]
    assert [(one["format"], one["review"]) for one in written] == [
        ("countermark/review_prepared/1", "2026-W07"), ("countermark/minutes/2", "2026-W07"),
    ]  # fmt: skip
    for name, digest in (("review.json", "digest"), ("review.pdf", "pages")):
        assert {one[digest] for one in written} == {sha256_hex((folder / name).read_bytes())}
    assert written[0]["as_of"] == iso(AS_OF)
    assert made.actions[0].owner == "Olga Owner", "a principal is written as the person"
    with pytest.raises(ReviewError, match="recorded minutes"):
        put(prepared, folder, week.address)

    done = signed(week, "rik", folder)
    event = done.state.events[done.position]
    assert event.type == "review_signed"
    assert event.body["digest"] == sha256_hex((folder / "minutes.json").read_bytes())
    assert prepared.checkpoint is not None
    assert event.body["checkpoint"] == prepared.checkpoint.digest
    assert [(t.subject, t.due) for t in done.state.tasks("olga") if t.kind == "action"] == [
        ("2026-W07-1", "2026-02-17")
    ]
    assert {t.subject for t in done.state.tasks("vera") if t.kind == "action"} == {"2026-W05-2", "2026-W07-2"}

    again = signed(week, "vera", folder)
    assert again.state.events[again.position].body["actions"] == [], "an action waits once, however many sign"
    assert {t.subject for t in again.state.tasks("vera") if t.kind == "action"} == {"2026-W05-2", "2026-W07-2"}
    with pytest.raises(ReviewError, match="signed review 2026-W07 already"):
        signed(week, "rik", folder)
    with pytest.raises(RegistryError, match="belongs to no principal"):
        signed(week, "stranger", folder)

    (folder / "minutes.yaml").write_text(MINUTES.replace("Short week.", "Long week."))
    with open_ledger(week.address, writer="review") as ledger, pytest.raises(ReviewError, match="other minutes"):
        record(week.bank, ledger, folder, folder / "minutes.yaml")

    with open_ledger(week.address) as ledger:
        following = prepare(week.sources(ledger), week.clock.now() + timedelta(days=7), sample=0)
    assert {(a.id, a.status) for a in following.actions} == {
        ("2026-W05-1", "done"), ("2026-W05-2", "open"), ("2026-W07-1", "open"), ("2026-W07-2", "overdue"),
    }  # fmt: skip


CHANGES: dict[str, tuple[bytes, bytes]] = {
    "review.json": (b'"Test bank"', b'"Best bank"'),
    "review.pdf": (b"%PDF", b"%PDX"),
    "minutes.json": (b"Explain the drift", b"Forget the drift"),
}


def change(path: Path) -> None:
    old, new = CHANGES[path.name]
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


def taken(week: Week, folder: Path) -> Minutes:
    with open_ledger(week.address, writer="review") as ledger:
        return record(week.bank, ledger, folder, folder / "minutes.yaml")


def signed(week: Week, who: str, folder: Path) -> Any:
    with open_ledger(week.address) as ledger:
        return sign(week.bank, key(who), folder, ledger)


@pytest.mark.parametrize("name", ["review.json", "review.pdf"])
def test_what_was_changed_after_it_was_prepared_is_not_recorded(tmp_path: Path, folder: Path, name: str) -> None:
    week = Week(tmp_path / "own")
    change(folder / name)
    with pytest.raises(ReviewError, match=f"'{name}' is not what was prepared of review 2026-W07") as error:
        taken(week, folder)
    assert error.value.file == str(folder / name)
    assert not (folder / "minutes.json").exists()
    with open_ledger(week.address) as ledger:
        assert len(list(ledger.read(["review"]))) == 1


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_was_changed_after_it_was_recorded_is_not_signed(tmp_path: Path, folder: Path, name: str) -> None:
    week = Week(tmp_path / "own")
    taken(week, folder)
    change(folder / name)
    with pytest.raises(ReviewError, match=name if name != "minutes.json" else "not the minutes of review 2026-W07"):
        signed(week, "rik", folder)
    assert [r.review for _, r in week.bank.state().reviews] == ["2026-W05"]


def test_minutes_that_were_made_to_fit_a_changed_review_are_not_signed(tmp_path: Path, folder: Path) -> None:
    """Whoever changes all three files so that they agree still disagrees with the ledger."""
    week = Week(tmp_path / "own")
    made = taken(week, folder)
    change(folder / "review.json")
    forged = msgspec.structs.replace(made, digest=sha256_hex((folder / "review.json").read_bytes()))
    (folder / "minutes.json").write_bytes(pretty_json(as_document(forged)))
    with pytest.raises(ReviewError, match="not the minutes of review 2026-W07 that were recorded"):
        signed(week, "rik", folder)


def test_the_newest_preparation_counts(tmp_path: Path, folder: Path, prepared: Review) -> None:
    week = Week(tmp_path / "own")
    old = tmp_path / "old"
    old.mkdir()
    for name in ("review.json", "review.pdf", "minutes.yaml"):
        (old / name).write_bytes((folder / name).read_bytes())
    put(msgspec.structs.replace(prepared, bank="Best bank"), folder, week.address)
    with pytest.raises(ReviewError, match=r"'review\.json' is not what was prepared"):
        taken(week, old)
    assert taken(week, folder).digest == sha256_hex((folder / "review.json").read_bytes())
    signed(week, "rik", folder)


def test_a_review_that_the_ledger_does_not_know_is_neither_recorded_nor_signed(
    tmp_path: Path, folder: Path, week: Week
) -> None:
    with pytest.raises(ReviewError, match="knows of no review 2026-W07 that was prepared"):
        taken(week, folder)
    own = Week(tmp_path / "own")
    taken(own, folder)
    with pytest.raises(ReviewError, match="holds no minutes of review 2026-W07"):
        signed(week, "rik", folder)


def test_minutes_of_the_first_format_are_signed_as_far_as_they_bind(tmp_path: Path, folder: Path) -> None:
    """They were recorded before minutes named the PDF."""
    week = Week(tmp_path / "own")
    document = as_document(taken(week, folder))
    del document["pages"]
    first = canonical_json({**document, "format": "countermark/minutes/1"})
    with open_ledger(week.address, writer="review") as ledger:
        ledger.append("review", "2026-W07", first, iso(week.clock.now()))
    with pytest.raises(ReviewError, match="that were recorded"):
        signed(week, "rik", folder)
    (folder / "minutes.json").write_bytes(pretty_json(json.loads(first)))
    change(folder / "review.json")
    with pytest.raises(ReviewError, match=r"review\.json"):
        signed(week, "rik", folder)
    old, new = CHANGES["review.json"]
    (folder / "review.json").write_bytes((folder / "review.json").read_bytes().replace(new, old))
    signed(week, "rik", folder)


def told_by_verify(week: Week, review: str = "reviews/2026-W07") -> tuple[str, str]:
    (check,) = [check for check in check_all(week.bank) if check.name == review]
    return check.outcome, check.detail


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_verify_names_the_altered_file_of_a_signed_review(tmp_path: Path, folder: Path, name: str) -> None:
    week = Week(tmp_path / "own")
    taken(week, folder)
    here = week.root / "reviews" / "2026-W07"
    shutil.copytree(folder, here)
    assert not [check for check in check_all(week.bank) if "reviews" in check.name], "nobody has signed it"
    signed(week, "rik", here)
    assert told_by_verify(week) == ("holds", "minutes.json, review.json, review.pdf are what was signed")
    change(here / name)
    outcome, detail = told_by_verify(week)
    assert (outcome, detail.partition(";")[0]) == ("fails", f"altered since it was signed: {name}")
    (here / name).unlink()
    outcome, detail = told_by_verify(week)
    assert outcome == "open", "what is not here is not altered"
    assert name in detail


def test_a_review_that_was_changed_into_none_is_not_read(tmp_path: Path, folder: Path) -> None:
    path = folder / "review.json"
    path.write_bytes(b"{}")
    with pytest.raises(ReviewError, match="no review"):
        read_review(folder)
    path.unlink()
    with pytest.raises(ReviewError, match="no such file"):
        read_review(folder)


def test_minutes_that_are_none_are_not_signed(tmp_path: Path, folder: Path, week: Week) -> None:
    with pytest.raises(ReviewError, match="no such file"):
        signed(week, "rik", folder)
    (folder / "minutes.json").write_bytes(b"{}")
    with pytest.raises(ReviewError, match="no minutes"):
        signed(week, "rik", folder)
