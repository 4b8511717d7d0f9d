"""Champion and challenger on the same decisions, once their labels have matured."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from countermark.errors import MonitoringError
from countermark.metrics.challenger import PairedMean, brier_difference
from countermark.metrics.discrimination import AucDifference, auc_difference
from countermark.monitoring.window import Production
from countermark.records.clock import iso
from countermark.records.decision import Closed, DecisionRecord
from countermark.records.digest import round_significant


class Compared(Closed, frozen=True, kw_only=True):
    """A paired difference with its 95 % interval and two-sided p-value; None where it is undefined."""

    champion: float | None
    challenger: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    reason: str | None = None


class ChallengeEvidence(Closed, frozen=True, kw_only=True):
    """What speaks for a promotion. Attached by its digest to the proposal of the challenger.

    Attributes:
        model: Name of the model.
        champion: Version that answered.
        challenger: Version that was scored in shadow.
        as_of: Instant up to which the ledger was read.
        decisions: Decisions scored by both.
        matured: Of those, old enough for a label.
        labelled: Of those, with a label: the rows of the comparison.
        events: Events among them.
        changed: Decisions that the challenger would have made otherwise.
        errors: Decisions on which the challenger gave an error.
        auc: Area under the ROC curve (paired DeLong).
        brier: Brier score, small is good (paired mean).
        verdict: ``better`` and ``worse`` need the interval of the AUC to leave out zero; anything else is no difference
            shown, or too few labels to say.
        checkpoint: Digest of the ledger's checkpoint that bounds what was known at the instant: with it the comparison
            comes out the same whenever it is made again. None where none has been taken since.
    """

    format: Literal["countermark/challenge/1"] = "countermark/challenge/1"
    model: str
    champion: str
    challenger: str
    as_of: str
    decisions: int
    matured: int
    labelled: int
    events: int
    changed: int
    errors: int
    auc: Compared
    brier: Compared
    verdict: Literal["better", "worse", "no difference shown", "too few labels"]
    checkpoint: str | None = None


def compare(
    production: Production, champion: str, challenger: str, *, maturity_days: int, minimum_events: int = 10
) -> ChallengeEvidence:
    """Compare two releases on the decisions that both have scored.

    Args:
        production: Production of the model.
        champion: Version that answered.
        challenger: Version that was scored in shadow.
        maturity_days: Age at which a label is final.
        minimum_events: Events and non-events below which nothing is concluded.

    Raises:
        MonitoringError: If an outcome is no event and no non-event.
    """
    pairs = list(_pairs(production, champion, challenger))
    errors = sum(1 for _, other in pairs if other.error is not None)
    scored = [(ours, other) for ours, other in pairs if other.error is None]
    old = {record.id for record in production.between(36500, until_days=maturity_days)}
    matured = [(ours, other) for ours, other in scored if ours.id in old]
    labelled = [(ours, other) for ours, other in matured if ours.id in production.outcomes]
    outcomes = np.array([production.outcomes[ours.id].value for ours, _ in labelled], dtype=np.float64)
    odd = int(((outcomes != 0.0) & (outcomes != 1.0)).sum())
    if odd:
        raise MonitoringError(
            f"champion and challenger of '{production.model}' cannot be compared by rank",
            expected="outcomes 0 and 1",
            got=f"{odd} of {outcomes.size} outcomes that are neither",
        )
    y = outcomes.astype(np.int64)
    first = np.array([ours.probability for ours, _ in labelled], dtype=np.float64)
    second = np.array([other.probability for _, other in labelled], dtype=np.float64)
    events = int(y.sum())
    enough = min(events, y.size - events) >= minimum_events
    ranked = auc_difference(y, second, first)
    squared = brier_difference(y, second, first)
    interval = ranked.interval
    verdict: Literal["better", "worse", "no difference shown", "too few labels"] = "no difference shown"
    if not enough:
        verdict = "too few labels"
    elif interval is not None and interval[0] > 0:
        verdict = "better"
    elif interval is not None and interval[1] < 0:
        verdict = "worse"
    return ChallengeEvidence(
        model=production.model,
        champion=champion,
        challenger=challenger,
        as_of=iso(production.as_of),
        decisions=len(pairs),
        matured=len(matured),
        labelled=len(labelled),
        events=events,
        changed=sum(1 for ours, other in scored if ours.decision != other.decision),
        errors=errors,
        auc=_compared((ranked.auc_b, ranked.auc_a), ranked),
        brier=_compared((_brier(y, first), _brier(y, second)), squared),
        verdict=verdict,
        checkpoint=production.checkpoint,
    )


def _brier(y: NDArray[np.int64], p: NDArray[np.float64]) -> float | None:
    return float(((p - y) ** 2).mean()) if y.size else None


def _compared(values: tuple[float | None, float | None], found: AucDifference | PairedMean) -> Compared:
    """Rounded, so that the same evidence has the same digest on any processor."""
    low, high = (None, None) if found.interval is None else found.interval
    numbers = (*values, found.difference, low, high, found.p_two_sided)
    champion, challenger, difference, low, high, p_value = (
        None if number is None else round_significant(number, 9) for number in numbers
    )
    return Compared(
        champion=champion,
        challenger=challenger,
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        reason=found.reason,
    )


def _pairs(production: Production, champion: str, challenger: str) -> list[tuple[DecisionRecord, DecisionRecord]]:
    """Decisions of the champion with the challenger's score of the same case, and the other way round."""
    found = []
    for record in production.decisions:
        for other in production.shadows.get(record.id, ()):
            versions = (record.release.version, other.release.version)
            if versions == (champion, challenger):
                found.append((record, other))
                break  # a shadow that was written twice is one score
            if versions == (challenger, champion) and other.error is None:
                found.append((other, record))
                break
    return found
