"""A fitted learner in the scorer's own terms, before calibration and grades."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from countermark.scoring.format import InputPart, Model


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a learner hands over.

    Attributes:
        inputs: Inputs that the model uses, as the scorer file lists them.
        model: The rounded or frozen model part.
        report: What ``training.json`` says about the fit.
    """

    inputs: tuple[InputPart, ...]
    model: Model
    report: dict[str, Any] = field(default_factory=dict)
