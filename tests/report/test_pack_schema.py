"""A pack meets the published schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.report import builders

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "pack.schema.json"


def test_a_pack_meets_it_and_a_broken_one_does_not() -> None:
    schema = json.loads(SCHEMA.read_bytes())
    document = builders.pack().model_dump(mode="json")
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "format": "countermark/pack/2"}, schema)
