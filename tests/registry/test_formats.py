"""Logs and bundles of every released format version open for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from countermark.records.digest import canonical_json, sha256_hex
from countermark.records.release import ReleaseRef
from countermark.registry.bundle import Bundle
from countermark.registry.events import TYPES, log_lines, parse_lines
from countermark.registry.fold import describe, fold

FORMATS = Path(__file__).parents[1] / "formats"
NOW = datetime(2026, 12, 31, tzinfo=UTC)


def test_a_log_of_format_1_folds_to_what_it_did_then() -> None:
    expected = json.loads((FORMATS / "registry_1.expected.json").read_bytes())
    data = (FORMATS / "registry_1.jsonl").read_bytes()
    entries = parse_lines(data)
    assert log_lines(entries) == data
    state = fold(entries, expected["trust_root"], NOW)
    assert state.refused == ()
    assert {event.type for event in state.events} == set(TYPES), "every type of event is in the kept log"
    assert {str(ref): release.status for ref, release in state.releases.items()} == {
        "toy@v1.0.0": "archived",
        "toy@v1.1.0": "dev",
        "toy@v1.2.0": "dev",
    }
    assert state.governance.body.version == 2
    assert [a.sequence for a in state.at(position=state.position - 1).authorised("toy")] == [3]
    assert describe(state).startswith(f"{expected['entries']} entries; last retirement by eli at 2026-")


def test_a_bundle_of_format_1_opens() -> None:
    expected = json.loads((FORMATS / "registry_1.expected.json").read_bytes())
    data = (FORMATS / "bundle_1.bundle").read_bytes()
    assert sha256_hex(data) == expected["bundle"]
    bundle = Bundle.open(data, expected["bundle"])
    assert bundle.ref == ReleaseRef("toy", "1.0.0")
    assert len(bundle.log()) == 1
    assert bundle.member("manifest.json") == canonical_json(json.loads(bundle.member("manifest.json")))
