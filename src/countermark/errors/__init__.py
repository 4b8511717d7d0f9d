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


class RegistryError(CountermarkError):
    """A release, signature, tag or log entry is not what trust demands."""

    exit_code = 9


class LedgerError(CountermarkError):
    """A ledger cannot be read, written or verified."""

    exit_code = 10


class ServingError(CountermarkError):
    """The decision service cannot start, or refuses a request."""

    exit_code = 11


class RolloutError(CountermarkError):
    """A rollout cannot start or go on as asked."""

    exit_code = 12


class ReplayError(CountermarkError):
    """A past decision cannot be replayed, or does not replay to the same bits."""

    exit_code = 13


class MonitoringError(CountermarkError):
    """Production evidence cannot be computed from what the ledger holds."""

    exit_code = 14


class ReviewError(CountermarkError):
    """A weekly review cannot be prepared, recorded or signed."""

    exit_code = 15


class SimulationError(CountermarkError):
    """A simulated life cannot be played, or a claim of it did not hold."""

    exit_code = 16


class FeatureStoreError(CountermarkError):
    """Feature values cannot be stored, read or computed as declared."""

    exit_code = 17


__all__ = [
    "BuildError",
    "ConfigError",
    "ContractError",
    "CountermarkError",
    "EvidenceError",
    "FeatureStoreError",
    "GuardError",
    "LedgerError",
    "MonitoringError",
    "RegistryError",
    "ReplayError",
    "ReportError",
    "ReviewError",
    "RolloutError",
    "ScorerError",
    "ServingError",
    "SimulationError",
    "SourceError",
    "StaleError",
    "TrainingError",
]
