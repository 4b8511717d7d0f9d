"""Results of monitoring: one reading per check, and the findings that people must act on."""

from __future__ import annotations

from typing import Literal

from countermark.records.decision import Closed
from countermark.records.lights import Light

SHIFTS = frozenset({"missing_shift", "decision_shift", "auc_drop"})
"""Checks whose value is a change: their reference is the level that they changed from, and is worded so."""


class Reading(Closed, frozen=True, kw_only=True):
    """One check on one subject.

    Attributes:
        check: Name of the limit: ``feature_psi``, ``auc`` and so on, or ``kpi``.
        subject: Feature, group or KPI it is about; ``score`` or ``all`` otherwise.
        n: Rows behind it.
        value: The statistic; None where it is undefined.
        low: Lower end of its 95 % interval.
        high: Upper end.
        reference: The same figure in the reference profile; for a shift or a drop (``SHIFTS``) the level that it is
            measured from. None where the profile does not hold it.
        limit: The limit in words.
        light: The light.
        rule: Which rule decided.
        reason: Why it is Not evaluated.
        owner: Who acts on it.
        weight: Importance of the subject to the model, for ordering; 0 where there is none.
    """

    check: str
    subject: str
    n: int
    value: float | None
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    limit: str
    light: Light
    rule: str
    reason: str | None = None
    owner: str
    weight: float = 0.0


class ModelWatch(Closed, frozen=True, kw_only=True):
    """What a monitoring run says of one model.

    Attributes:
        model: Name of the model.
        release: Version that answered most of the window's decisions.
        plan: Name and version of the monitoring plan.
        as_of: Instant of the run.
        window: First and last instant of the window.
        decisions: Decisions in the window.
        matured: Decisions old enough for a label, in the performance window.
        labelled: Of those, with a label.
        readings: One per check and subject.
        off: Checks without a limit.
    """

    format: Literal["countermark/watch/1"] = "countermark/watch/1"
    model: str
    release: str
    plan: str
    as_of: str
    window: tuple[str, str]
    decisions: int
    matured: int
    labelled: int
    readings: tuple[Reading, ...]
    off: tuple[str, ...]


class LiveFinding(Closed, frozen=True, kw_only=True):
    """A finding of production (ledger kind ``finding``, key = its id).

    Attributes:
        id: ``MODEL/CHECK/SUBJECT``: the same trouble keeps its id from run to run.
        model: Name of the model.
        check: Name of the check.
        subject: What it is about.
        light: Watch or Fail; once closed, Pass, or Information where it is no longer watched.
        status: ``open``, ``worse``, ``better`` or ``closed``, against the run before.
        at: Instant of the run.
        since: Instant of the run that opened it.
        owner: Who acts on it.
        text: What is wrong, in a sentence.
    """

    format: Literal["countermark/finding/1"] = "countermark/finding/1"
    id: str
    model: str
    check: str
    subject: str
    light: Light
    status: Literal["open", "worse", "better", "closed"]
    at: str
    since: str
    owner: str
    text: str
