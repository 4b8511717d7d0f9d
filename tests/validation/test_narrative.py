from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import ConfigError
from countermark.validation.catalogue import questions
from countermark.validation.narrative import narrative_block, narrative_template, parse_narrative

FILE = "conf/model/toy_pd.md"


def test_answers_are_split_by_key_and_the_rest_is_unanswered() -> None:
    text = "# Toy\n\n## purpose\n\nIt decides.\n\n### Detail\nMore.\n\n## limits\n- not abroad\n"
    answers = parse_narrative(text, FILE)
    assert list(answers) == list(questions())
    assert answers["purpose"] == "It decides.\n\n### Detail\nMore."
    assert answers["limits"] == "- not abroad"
    assert answers["choices"] is None


@pytest.mark.parametrize("body", ["", "\n\n", "?", "  ?  \n", "? Why this one?\n\n?\n"])
def test_an_open_question_is_unanswered(body: str) -> None:
    assert parse_narrative(f"## choices\n{body}", FILE)["choices"] is None


def test_the_question_line_is_not_part_of_the_answer() -> None:
    assert (
        parse_narrative("## choices\n? Why?\n\nBecause. Is it so?\n? no", FILE)["choices"] == "Because. Is it so?\n? no"
    )


def test_the_template_asks_every_question_and_answers_none() -> None:
    text = narrative_template("Toy PD")
    assert set(parse_narrative(text, FILE).values()) == {None}
    for question in questions().values():
        assert question.question in text


def test_a_heading_inside_a_fence_is_content() -> None:
    answers = parse_narrative("## data\n```\n## nonsense\n```\ntail\n## limits\nx", FILE)
    assert answers["data"] == "```\n## nonsense\n```\ntail"
    assert answers["limits"] == "x"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("# T\n\n## purpos\nx", 3, "did you mean 'purpose'"),
        ("## Limits\nx", 1, "did you mean 'limits'"),
        ("## zzzzzz\nx", 1, "use '###'"),
        ("## data\nx\n## data\ny", 3, "first on line 1"),
        ("hello\n## data\nx", 1, "before the first"),
    ],
)
def test_what_would_not_be_printed_is_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_narrative(text, FILE)
    assert caught.value.place == f"{FILE}:{line}"
    assert words in str(caught.value)


def test_a_block_carries_its_question() -> None:
    block = narrative_block("limits", {"limits": None})
    assert block.markdown is None
    assert block.question == questions()["limits"].question


@given(st.text(alphabet=st.sampled_from("#? \n`ab~-\r\t"), max_size=80))
def test_any_text_parses_or_is_refused_by_line(text: str) -> None:
    refused: ConfigError | None = None
    answers: dict[str, str | None] = {}
    try:
        answers = parse_narrative(text, FILE)
    except ConfigError as error:
        refused = error
    if refused is None:
        assert list(answers) == list(questions())
    else:
        assert 1 <= (refused.line or 0) <= text.count("\n") + text.count("\r") + 1


@given(
    st.dictionaries(
        st.sampled_from(sorted(questions())),
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="#?`~\r\x85"), min_size=1).filter(str.strip),
    )
)
def test_what_is_written_is_what_is_read(written: dict[str, str]) -> None:
    text = "# Title\n" + "".join(f"\n## {key}\n{body}\n" for key, body in written.items())
    answers = parse_narrative(text, FILE)
    assert {k: v for k, v in answers.items() if v is not None} == {k: v.strip() for k, v in written.items()}
