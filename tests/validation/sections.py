"""Checks that hold for every section of evidence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from countermark.records.evidence import Figure, RegisterRow, Section, Table, section_light
from countermark.records.lights import Light
from countermark.records.register import registered_tests
from countermark.validation.inputs import EvidenceInput, SectionEvidence


def light(section: SectionEvidence) -> Light:
    """The light that the gating rows give."""
    return section_light(section.rows)


def row(section: SectionEvidence, test_id: str, segment: str = "all", sample: str | None = None) -> RegisterRow:
    """The one row of that test, segment and sample."""
    found = [
        r
        for r in section.rows
        if (r.test_id, r.segment) == (test_id, segment) and (sample is None or r.sample == sample)
    ]
    assert len(found) == 1, [(r.test_id, r.segment, r.sample) for r in found]
    return found[0]


def check_section(section: SectionEvidence) -> None:
    """The section can be printed: known tests, unique keys, captions with N and D, finite numbers, alt texts."""
    Section(
        code=section.code, title="t", light=light(section), conclusion=section.conclusion,
        would_change=section.would_change, so_what=section.so_what, blocks=section.blocks,
    )  # fmt: skip
    assert section.conclusion.endswith(".")
    for text in (section.conclusion, section.would_change, section.so_what):
        assert text is not None
        assert "nan" not in text.lower().split()
        assert "None" not in text
    known = registered_tests()
    assert {r.test_id for r in section.rows} <= set(known)
    keys = [(r.test_id, r.sample, r.segment) for r in section.rows]
    assert len(keys) == len(set(keys))
    for r in section.rows:
        assert r.light is not Light.NOT_EVALUATED or r.n_reason
    ids = [b.id for b in section.blocks if hasattr(b, "id")]
    assert len(ids) == len(set(ids))
    for block in section.blocks:
        if isinstance(block, Figure | Table):
            assert "N = " in block.caption
            assert "None" not in block.caption
        if isinstance(block, Figure):
            assert any(c.isdigit() for c in block.alt), block.alt
            assert len(block.caption) < 260
        if isinstance(block, Table):
            assert all(set(r) == {c.key for c in block.columns} for r in block.rows)
    json.dumps(dict(section.extras), allow_nan=False)


def freeze(inputs: EvidenceInput) -> EvidenceInput:
    """The same inputs with every array read-only: a section that writes raises."""

    def lock(value: Any) -> None:
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        elif isinstance(value, dict):
            for item in value.values():
                lock(item)

    for sample in inputs.samples.values():
        for field in dataclasses.fields(sample):
            lock(getattr(sample, field.name))
    return inputs


def check_pure(section: Callable[[EvidenceInput], SectionEvidence], inputs: EvidenceInput) -> None:
    """The section writes to none of its arrays and gives the same evidence twice."""
    first = section(freeze(inputs))
    assert section(inputs) == first
