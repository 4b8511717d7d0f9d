"""The how-to page on strangers' files says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from countermark.config.spec import DataPlan, Outcome
from countermark.features.segments import MOST_SEGMENTS
from countermark.portfolio.profile import MOST_LEVELS
from countermark.portfolio.reading import read_column

PAGE = (Path(__file__).parents[2] / "docs/how-to/a_strangers_file.md").read_text(encoding="utf-8")


def test_its_yaml_is_valid() -> None:
    outcome, data = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL))
    assert Outcome.model_validate(outcome["outcome"]).unresolved == ("Current", None)
    assert DataPlan.model_validate(data["data"]).bands["income"] == (20000.0, 40000.0, 80000.0)


def test_its_numbers_are_the_ones_in_force() -> None:
    assert f"more than {MOST_SEGMENTS} different values" in PAGE
    assert f"up to {MOST_LEVELS} values" in PAGE


@pytest.mark.parametrize(
    ("words", "decimal", "kind"),
    [
        (("2023-01", "202301", "2023Q1", "Dec-2011", "31.01.2024"), ".", "date"),
        (("01/02/2024",), ".", "text"),
        (("1.234,50 €",), ",", "number"),
        (("$1,200", "12.5%"), ".", "number"),
    ],
)
def test_its_examples_are_read_as_it_says(words: tuple[str, ...], decimal: str, kind: str) -> None:
    for word in words:
        assert f"`{word}`" in PAGE
        assert read_column("period", pa.chunked_array([[word]]), decimal)[0].type == kind
