"""The data that the pack is written from: regulations, severity policy, glossary, narrative questions."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from countermark.config.policy import ModelKind
from countermark.records.lights import Light

Jurisdiction: TypeAlias = Literal["US", "EU", "UK", "CA"]
Severity: TypeAlias = Literal["critical", "high", "medium", "low", "observation"]

SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low", "observation")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Requirement(_Entry):
    """What one clause asks of validation, in our words, and the sections that hold evidence relevant to it."""

    id: str
    jurisdictions: tuple[Jurisdiction, ...] = Field(min_length=1)
    name: str
    clause: str
    kinds: tuple[ModelKind, ...] | None = None
    natural_persons: bool = Field(default=False, description="Only for models about natural persons.")
    status: Literal["in_force", "upcoming", "guidance", "proposed"]
    since: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    status_text: str
    mandatory: bool
    asks: str
    sections: tuple[str, ...] = Field(min_length=1)
    verified: Literal["seen", "expert"]

    def applies(self, kind: ModelKind, jurisdictions: tuple[str, ...], *, natural_persons: bool) -> bool:
        """Whether the clause is about a model of this kind, in these jurisdictions."""
        about_kind = self.kinds is None or kind in self.kinds
        return (
            about_kind
            and bool(set(self.jurisdictions) & set(jurisdictions))
            and (natural_persons or not self.natural_persons)
        )


class SeverityPolicy(_Entry):
    """Severity = impact x likelihood x detectability, each 1 to 3, and how long a fix may take."""

    version: str
    source: str
    impact: dict[str, int]
    likelihood: dict[Light, int]
    detectability: dict[str, int]
    bands: dict[Severity, int]
    months: dict[Severity, int]
    hard: tuple[str, ...]
    condition_months: int

    def inputs(self, section: str, light: Light) -> tuple[int, int, int]:
        """Impact, likelihood and detectability of a finding of this section and light."""
        impact = self.impact.get(section, self.impact[section[0]])
        detectability = self.detectability.get(section, self.detectability[section[0]])
        return impact, self.likelihood[light], detectability

    def severity(self, section: str, light: Light) -> Severity:
        """The severity whose band the product falls in."""
        impact, likelihood, detectability = self.inputs(section, light)
        product = impact * likelihood * detectability
        return next(s for s in SEVERITIES if product >= self.bands[s])


class Advice(_Entry):
    """Why a result that is not good matters, and what to do about it."""

    why: str
    do: str


class Question(_Entry):
    """A question that people answer in conf/model/NAME.md under '## key'."""

    key: str
    section: str
    question: str


def _read(name: str) -> Any:
    text = resources.files("countermark.validation").joinpath("data", name).read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    return _plain(document)


def _plain(value: Any) -> Any:
    """YAML dates as ISO text: the catalogue prints them, it does not compute with them."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


@functools.cache
def requirements() -> tuple[Requirement, ...]:
    """The regulatory catalogue."""
    return TypeAdapter(tuple[Requirement, ...]).validate_python(_read("regulations.yaml"))


@functools.cache
def severity_policy() -> SeverityPolicy:
    """The house severity policy."""
    return SeverityPolicy.model_validate(_read("severity.yaml"))


@functools.cache
def advice() -> dict[str, Advice]:
    """What a finding drawn up from a test says, by test id; other tests speak for their section."""
    return TypeAdapter(dict[str, Advice]).validate_python(_read("advice.yaml"))


@functools.cache
def questions() -> dict[str, Question]:
    """The narrative questions by key, in the order of the pack."""
    entries = TypeAdapter(tuple[Question, ...]).validate_python(_read("narrative.yaml"))
    return {entry.key: entry for entry in entries}


@functools.cache
def glossary(*, amounts: bool = False) -> dict[str, str]:
    """Term to meaning, in alphabetical order; with the words of packs on amounts where asked for."""
    return _words("glossary", amounts)


@functools.cache
def abbreviations(*, amounts: bool = False) -> dict[str, str]:
    """Abbreviation to meaning, in alphabetical order; with those of packs on amounts where asked for."""
    return _words("abbreviations", amounts)


def _words(kind: str, amounts: bool) -> dict[str, str]:
    reader = TypeAdapter(dict[str, str])
    words = reader.validate_python(_read(f"{kind}.yaml"))
    if not amounts:
        return words
    more = reader.validate_python(_read("amount_words.yaml")[kind])
    return dict(sorted((words | more).items(), key=lambda item: (item[0].casefold(), item[0])))
