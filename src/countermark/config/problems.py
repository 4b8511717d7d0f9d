"""A mistake that a composed spec holds, found before any data is read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from countermark.config.yamlfile import KeyPath


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, told by its key; who raises it adds file and line.

    Attributes:
        path: Key of the composed spec that holds the mistake.
        what: What is wrong.
        expected: What would have been right.
        got: What was found instead.
        hint: The next thing to try.
    """

    path: KeyPath
    what: str
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word most like this one; None if none is like it."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{match[0]}'?" if match else None


def one_of(known: Iterable[str]) -> str:
    """The known words as the 'expected' line of a message, cut where there are very many."""
    words = list(known)
    shown = ", ".join(words[:40]) or "(none)"
    return f"one of: {shown}" if len(words) <= 40 else f"one of: {shown}, and {len(words) - 40} more"
