"""Every example in the reference is a valid declaration, and the contract fits its source."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from countermark.config.contract import Contract
from countermark.config.feature_view import FeatureView
from countermark.config.source import Source
from countermark.contracts.currency import check_currency
from countermark.contracts.schema import refuse_contradictions

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "contracts.md"


def test_examples_are_valid() -> None:
    blocks = re.findall(r"```yaml (\w+)\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    examples = {name: yaml.safe_load(text) for name, text in blocks}
    assert list(examples) == ["source", "contract", "feature_view"]
    source = TypeAdapter(Source).validate_python(examples["source"])
    contract = Contract.model_validate(examples["contract"])
    FeatureView.model_validate(examples["feature_view"])
    refuse_contradictions(contract, source)
    check_currency(contract, source)
    assert source.row_key in contract.columns


def test_every_rule_and_guard_is_described() -> None:
    page = PAGE.read_text("utf-8")
    rooms = Path(__file__).parents[2] / "src" / "countermark"
    guards = re.findall(r'"(\w+)": "(?:remove|correct|use|set)', (rooms / "features" / "guards.py").read_text("utf-8"))
    assert len(guards) > 5
    for name in [
        *guards,
        "type",
        "required",
        "minimum",
        "maximum",
        "allowed",
        "pattern",
        "unique",
        "key_unique",
        "future",
    ]:
        assert f"`{name}`" in page, name
