"""Every error of the house, under one root.

A message answers five questions in a fixed order: where, what, expected, got, hint.
Messages never carry an applicant's data: name keys, columns and counts, not values of a row.
"""

from __future__ import annotations

from pathlib import Path


class CountermarkError(Exception):
    """Root of every error that a user of Countermark can cause or meet.

    Args:
        what: What is wrong, lower-case start, names in single quotes.
        expected: What would have been right.
        got: What was found instead.
        hint: The next thing to try.
        file: File the mistake is in, printed relative to the working directory where possible.
        line: 1-based line in that file.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
        file: Path | str | None = None,
        line: int | None = None,
    ) -> None:
        self.what = what
        self.expected = expected
        self.got = got
        self.hint = hint
        self.file = None if file is None else str(file)
        self.line = line
        super().__init__(what)

    @property
    def place(self) -> str | None:
        """``file:line``, ``file`` or None."""
        if self.file is None:
            return None
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.what}" if self.place else self.what]
        for label, text in (("expected", self.expected), ("got", self.got), ("hint", self.hint)):
            if text is not None:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class ConfigError(CountermarkError):
    """A YAML file or a composed spec is not what the schema promises."""

    exit_code = 2


class StaleError(ConfigError):
    """Generated files differ from what conf/ composes to; run ``countermark compile``."""


class SourceError(CountermarkError):
    """A source cannot be read, or is not the bytes that were declared."""

    exit_code = 3


class ContractError(CountermarkError):
    """A table breaks its contract beyond the declared tolerance."""

    exit_code = 3


class GuardError(CountermarkError):
    """A build guard stopped the model: leak, protected input, overlap, immature labels."""

    exit_code = 4


class TrainingError(CountermarkError):
    """A learner cannot be fitted or frozen as asked."""

    exit_code = 5


class ScorerError(CountermarkError):
    """A frozen scorer file is damaged, unknown or fed with the wrong columns."""

    exit_code = 5


class EvidenceError(CountermarkError):
    """Evidence cannot be computed from what the earlier stages left."""

    exit_code = 6


class ReportError(CountermarkError):
    """A pack cannot be rendered."""

    exit_code = 7


class BuildError(CountermarkError):
    """The build itself failed: DVC, a stage, or the machine it runs on."""

    exit_code = 8


__all__ = [
    "BuildError",
    "ConfigError",
    "ContractError",
    "CountermarkError",
    "EvidenceError",
    "GuardError",
    "ReportError",
    "ScorerError",
    "SourceError",
    "StaleError",
    "TrainingError",
]
