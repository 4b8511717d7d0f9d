"""Texts of a spec that nobody has written yet: ``new model`` leaves them as questions, and a release must not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

UNANSWERED = "Unanswered"
"""What a text says, alone or before a colon and a question, until somebody answers it."""


def is_unanswered(text: str) -> bool:
    """Whether a text is still the question that it was written with."""
    head, _, _ = text.partition(":")
    return head.strip().casefold() == UNANSWERED.casefold()


def unanswered(document: Any) -> tuple[str, ...]:
    """Where a document still says so, as paths such as ``decision.reasons.R01.text``, in the order of the document.

    Args:
        document: JSON values.
    """
    return tuple(_paths(document, ""))


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if is_unanswered(value):
            yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _paths(inner, f"{path}[{place}]")
