"""The published schema is the schema of the code."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from countermark.records.digest import pretty_json
from countermark.records.evidence import Pack
from tests.report import builders

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "pack.schema.json"


def generated() -> bytes:
    schema = Pack.model_json_schema(mode="serialization")
    return pretty_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_the_published_schema_is_current() -> None:
    assert SCHEMA.read_bytes() == generated(), (
        'regenerate: python -c "from tests.report.test_pack_schema import *; SCHEMA.write_bytes(generated())"'
    )


def test_a_pack_meets_it_and_a_broken_one_does_not() -> None:
    schema = json.loads(SCHEMA.read_bytes())
    document = builders.pack().model_dump(mode="json")
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "format": "countermark/pack/2"}, schema)
