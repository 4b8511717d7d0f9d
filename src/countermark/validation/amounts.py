"""What sections on amounts share: formats, words, buckets, and when a sample is too thin to be judged.

A model of kind ``lgd`` or ``ead`` estimates a value: its samples hold realised amounts where others hold events, and
its grades are pools of the estimate.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from countermark.config.spec import ModelSpec
from countermark.metrics.discrimination import auc, auc_difference
from countermark.metrics.somers import LGD_BUCKETS, Gauc, bucketed, generalised_auc, generalised_auc_difference
from countermark.records.evidence import Format
from countermark.validation.inputs import EvidenceInput
from countermark.validation.sentences import counted


def value_format(spec: ModelSpec) -> Format:
    """How an estimate is printed: a probability or a loss given default as a share, an exposure as a number."""
    return "number" if spec.kind == "ead" else "share"


def gap_format(spec: ModelSpec) -> Format:
    """How a difference of estimates is printed."""
    return "number" if spec.kind == "ead" else "points"


def value_word(spec: ModelSpec) -> str:
    """What the model estimates, in a word: 'probability', 'LGD' or 'amount'."""
    return {"lgd": "LGD", "ead": "amount"}.get(spec.kind, "probability")


def rank_measure(spec: ModelSpec) -> str:
    """The measure of ranking: 'AUC' of events, 'gAUC' of amounts."""
    return "gAUC" if spec.is_amount else "AUC"


def band_word(spec: ModelSpec) -> str:
    """What a band of the score is called: 'grade', or 'pool' of amounts."""
    return "pool" if spec.is_amount else "grade"


def rank_codes(spec: ModelSpec, values: NDArray[Any]) -> NDArray[Any]:
    """Amounts as their ranks are compared: a loss given default in the twelve ECB buckets, an exposure as it is.

    Source: ECB instructions (2019): continuous estimates of LGD are put into twelve buckets.
    """
    return bucketed(values, LGD_BUCKETS) if spec.kind == "lgd" else values


def ranking(inputs: EvidenceInput, realised: NDArray[Any], estimated: NDArray[Any]) -> Gauc:
    """Generalised AUC of estimates against realised amounts, in the form of the kind."""
    spec = inputs.spec
    return generalised_auc(rank_codes(spec, realised), rank_codes(spec, estimated), confidence=spec.policy.confidence)


def rank_strength(spec: ModelSpec, outcome: NDArray[Any], score: NDArray[Any]) -> float | None:
    """AUC of events, generalised AUC of amounts; None if undefined."""
    return generalised_auc(outcome, score).value if spec.is_amount else auc(outcome, score).value


def rank_difference(
    spec: ModelSpec, outcome: NDArray[Any], a: NDArray[Any], b: NDArray[Any]
) -> tuple[float | None, tuple[float, float] | None]:
    """By how much ``a`` ranks better than ``b`` on the same rows, with its interval: AUC or generalised AUC."""
    level = spec.policy.confidence
    if not spec.is_amount:
        got = auc_difference(outcome, a, b, confidence=level)
        return got.difference, got.interval
    found = generalised_auc_difference(
        rank_codes(spec, outcome), rank_codes(spec, a), rank_codes(spec, b), confidence=level
    )
    return found.difference, found.interval


def too_few_amounts(inputs: EvidenceInput, n: int, name: str, *, varied: int | None = None) -> str | None:
    """The reason why ranking must not be judged: too few rows, or too few whose realised amount differs from the rest.

    Args:
        inputs: The evidence input.
        n: Rows.
        name: What has so few, for the reason.
        varied: Rows outside the most frequent realised value, where ranks are asked for.
    """
    policy = inputs.spec.policy
    if n < policy.minimum_group:
        return f"{name} has {counted(n, 'row')}; the policy asks for {policy.minimum_group}"
    if varied is not None and varied < policy.minimum_events:
        rows = counted(varied, "row differs", "rows differ")
        return f"in {name} {rows} from the most frequent realised value; the policy asks for {policy.minimum_events}"
    return None
