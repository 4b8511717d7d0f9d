"""The portfolio page as data: one row per model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from countermark.errors import ReportError
from countermark.records.evidence import KeyNumber, Pack, Record
from countermark.records.lights import Light


class PortfolioModel(Record):
    """One model on the portfolio page."""

    id: str
    title: str
    version: str
    kind: str
    tier: int | str | None = None
    owner: str | None = None
    opinion: str
    as_of: str
    pack_hash: str = Field(min_length=12)
    strip: tuple[tuple[str, str, Light], ...]
    key_numbers: tuple[KeyNumber, ...] = Field(max_length=8)
    findings_count: dict[str, int]
    decide_by: str | None = None


class PortfolioPage(Record):
    """All models of a bank on one page."""

    format: Literal["countermark/portfolio/1"] = "countermark/portfolio/1"
    title: str = "Model portfolio"
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Latest as-of date of its packs.")
    classification: str = "Internal"
    models: tuple[PortfolioModel, ...]


def portfolio_model(pack: Pack) -> PortfolioModel:
    """The row of one pack."""
    identity, summary = pack.identity, pack.summary
    tier = identity.get("tier")
    return PortfolioModel(
        id=str(identity.get("id") or identity.get("title") or "model"),
        title=str(identity.get("title") or identity.get("id") or "Model"),
        version=str(identity.get("version") or ""),
        kind=str(identity.get("kind") or ""),
        tier=tier if isinstance(tier, int | str) else None,
        owner=None if identity.get("owner") is None else str(identity["owner"]),
        opinion=summary.opinion,
        as_of=pack.as_of,
        pack_hash=pack.pack_hash,
        strip=summary.strip,
        key_numbers=summary.key_numbers,
        findings_count=summary.findings_count,
        decide_by=summary.decide_by,
    )


def portfolio_of(packs: tuple[Pack, ...], title: str = "Model portfolio") -> PortfolioPage:
    """The page of several packs, sorted by model id; as of the latest pack.

    Raises:
        ReportError: If there is no pack.
    """
    if not packs:
        raise ReportError("a portfolio needs at least one pack", expected="one pack or more", got="none")
    models = tuple(sorted((portfolio_model(pack) for pack in packs), key=lambda m: (m.id, m.version)))
    classes = sorted({str(pack.identity.get("classification") or "Not classified") for pack in packs})
    return PortfolioPage(
        title=title, as_of=max(m.as_of for m in models), classification=" / ".join(classes), models=models
    )


def read_portfolio(portfolio: Mapping[str, Any]) -> PortfolioPage:
    """Check a portfolio document.

    Raises:
        ReportError: If it breaks its schema.
    """
    try:
        return PortfolioPage.model_validate(dict(portfolio))
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ReportError(
            f"the portfolio breaks its schema at '{place}'", expected="countermark/portfolio/1", got=first["msg"]
        ) from broken
