"""What the scaffold writes is what composition reads, whatever a stranger's names and categories hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.yamlfile import parse_plain
from countermark.portfolio.yaml_text import yaml_text

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    st.text("0123456789.eE+-_:xobnyINF~", max_size=6),
)
VALUES: Any = st.recursive(
    st.one_of(TEXT, st.integers(-(10**6), 10**6), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)


def escaped(value: Any) -> Any:
    """Text values as composition wants them; keys are not composed."""
    match value:
        case str():
            return value.replace("${", "\\${")
        case dict():
            return {key: escaped(inner) for key, inner in value.items()}
        case list():
            return [escaped(inner) for inner in value]
        case _:
            return value


@given(st.dictionaries(st.sampled_from(["name", "rename", "columns", "allowed"]), VALUES, min_size=1), TEXT)
def test_every_document_comes_back(document: dict[str, Any], question: str) -> None:
    shown = " ".join(question.split())
    text = yaml_text(document, "A title.", (shown,) if shown.isprintable() else ())
    assert text.startswith("# A title.\n")
    assert parse_plain(text) == escaped(document)


@pytest.mark.parametrize(
    "word", ["1e5", "1E-3", "-2e+7", ".5", "1_000", "yes", "null", "~", "2024-01-31", "12:30", "", "0x1F", "é\n"]
)
def test_a_word_that_looks_like_something_else_stays_a_word(word: str) -> None:
    assert parse_plain(yaml_text({"a": word, "b": [word], "c": {word: word}}, "T")) == {
        "a": word, "b": [word], "c": {word: word},
    }  # fmt: skip


def test_a_question_is_a_comment_of_short_lines() -> None:
    text = yaml_text({"a": 1}, "A title.", ("is " + "word " * 60 + "it?", "short?"))
    lines = text.splitlines()
    assert lines[-1] == "a: 1"
    assert all(line.startswith("#") and len(line) <= 110 for line in lines[:-1])
    assert sum(line.startswith("# ? ") for line in lines) == 2
