"""The first monitoring plan of a model: the industry's customary limits, and questions where a person has to answer."""

from __future__ import annotations

from typing import Any

_MATURITY_DAYS = {"pd": 365, "fraud": 31, "aml": 90, "propensity": 30}
"""Days until a label of that kind is usually final; a person confirms them."""


def maturity_days(kind: str) -> int:
    """Days until a label of a kind is usually final; of a kind without a custom, a year."""
    return _MATURITY_DAYS.get(kind, 365)


def maturity_question(name: str, kind: str) -> str:
    """What a person has to confirm before performance is judged by it."""
    return (
        f"maturity_days {maturity_days(kind)} in conf/monitor/{name}.yaml is guessed from the kind '{kind}': after how "
        f"many days is a label final here? Earlier labels make performance look as it is not"
    )


def monitor_plan(name: str, kind: str, unanswered: str) -> dict[str, Any]:
    """What conf/monitor/NAME.yaml of a new model proposes.

    Args:
        name: The model.
        kind: What it predicts.
        unanswered: The word that marks what a person has to answer.
    """
    maturity = maturity_days(kind)

    def limit(kind: str, source: str, **bounds: Any) -> dict[str, Any]:
        return {"kind": kind, **bounds, "source": source}

    return {
        "name": name,
        "version": "1.0.0",
        "owner": unanswered,
        "source_note": "Customary limits of the industry, and no regulation.",
        "window_days": 30,
        "maturity_days": maturity,
        "performance_days": max(90, maturity),
        "limits": {
            "missing_shift": limit("upper", "[H] rise of the share missing", watch=0.02, fail=0.10),
            "unseen_share": limit("upper", "[H] share of levels never seen", watch=0.001, fail=0.01),
            "feature_psi": limit("upper", "[C] PSI bands", watch=0.10, fail=0.25, inclusive=False),
            "score_psi": limit("upper", "[C] PSI bands", watch=0.10, fail=0.25, inclusive=False),
            "decision_shift": limit("upper", "[H] shift of the favourable share", watch=0.05, fail=0.10),
            "auc_drop": limit("upper", "[H] AUC lost since validation", watch=0.05, fail=0.10),
            "calibration": limit("p_value", "[S] Jeffreys statistic; p-rule [H]", watch=0.05, fail=0.01),
        },
    }
