"""Texts that nobody has written yet."""

from __future__ import annotations

import pytest

from countermark.records.unanswered import is_unanswered, unanswered


@pytest.mark.parametrize("text", ["Unanswered", "Unanswered: reason text for income", " unanswered ", "UNANSWERED: x"])
def test_a_question_is_no_answer(text: str) -> None:
    assert is_unanswered(text)


@pytest.mark.parametrize("text", ["", "Answered", "Unanswered calls of the last month", "Your income: Unanswered"])
def test_an_answer_is_an_answer(text: str) -> None:
    assert not is_unanswered(text)


def test_every_place_is_found_and_named() -> None:
    spec = {
        "title": "Unanswered: title of x",
        "decision": {"cutoff": 0.1, "reasons": {"R01": {"text": "Unanswered: why", "features": ["a"]}}},
        "purpose": {"permitted": ["Credit", "Unanswered"], "automated": False, "decision": None},
    }
    assert unanswered(spec) == ("title", "decision.reasons.R01.text", "purpose.permitted[1]")
    assert unanswered({"title": "Loans"}) == ()
