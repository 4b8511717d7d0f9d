"""What the written sections see: the spec, the rows, the state of every other section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from countermark.config.spec import ModelSpec
from countermark.records.evidence import Finding, RegisterRow, Scalar
from countermark.records.lights import Light
from countermark.validation.inputs import Register
from countermark.validation.opinion import Opinion


@dataclass(frozen=True, slots=True)
class PlannedSection:
    """One section of the standard, and what became of it in this pack."""

    code: str
    title: str
    status: Literal["computed", "not_computed", "not_applicable"]
    line: str
    light: Light = Light.INFORMATION


@dataclass(frozen=True, slots=True)
class PackContext:
    """Everything a written section may look at.

    Attributes:
        register: Where rows are judged and recorded; holds the spec.
        digests: Digests given by the caller and computed from the evidence, by name.
        answers: Narrative answers by key.
        plan: Every section of the standard in order, with its status.
        rows: Register rows so far.
        extras: Extras of computed sections, by section code.
        findings: All findings; empty until they are drawn up.
        opinion: The opinion proposed; None until it is.
        short_titles: Title of each section on the light strip.
        identity: What the cover prints.
    """

    register: Register
    digests: Mapping[str, str]
    answers: Mapping[str, str | None]
    plan: tuple[PlannedSection, ...]
    rows: tuple[RegisterRow, ...]
    extras: Mapping[str, Mapping[str, Any]]
    findings: tuple[Finding, ...] = ()
    opinion: Opinion | None = None
    short_titles: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The resolved spec."""
        return self.register.spec
