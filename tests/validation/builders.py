"""A sound synthetic PD model as ``EvidenceInput``, and the same model with one planted fault.

``make_inputs()`` is sound: the scorer holds the law that made the outcomes. Every fault is one keyword.
The scorer is a plain logistic formula behind the frozen scorer's methods, so that no training is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import yaml
from numpy.typing import NDArray

from countermark.config.spec import ModelSpec
from countermark.records.digest import digest_of
from countermark.scoring.frozen import FrozenScorer
from countermark.validation.inputs import EvidenceInput, Sample

Floats = NDArray[np.float64]

POLICY_FILE = Path(__file__).parents[2] / "conf" / "policy" / "standard.yaml"
NUMERIC = ("utilisation", "arrears", "income", "tenure")
PURPOSES = ("car", "debt", "home", "other")
WEIGHTS = {"utilisation": 0.9, "arrears": 0.6, "income": -0.5, "tenure": -0.3}
PURPOSE_WEIGHT = {"car": -0.2, "debt": 0.3, "home": -0.1, "other": 0.1}
MISSING_INCOME = 0.4
GRADE_UPPER = (0.02, 0.04, 0.07, 0.11, 0.17, 0.27, 1.0)
GRADE_NAMES = ("A", "B", "C", "D", "E", "F", "G")
ROLES = {"development": 0.4, "calibration": 0.15, "holdout": 0.2, "out_of_time": 0.25}
LABELS = {
    "development": "development",
    "calibration": "calibration",
    "holdout": "hold-out",
    "out_of_time": "out-of-time",
}


@dataclass(frozen=True)
class LogisticScorer:
    """Stand-in for the frozen scorer: additive in its inputs, logistic link, fixed grades.

    Attributes:
        intercept: Margin of an average row.
        weights: Weight of each standardised numeric input.
        purposes: Effect of each level of ``purpose``; empty leaves the input out.
        p_factor: Multiplies every probability (a planted fault when it is not 1).
        wave: Height of a sine of ``utilisation`` added to the margin (a planted fault when it is not 0).
    """

    intercept: float
    weights: tuple[tuple[str, float], ...]
    purposes: tuple[tuple[str, float], ...]
    p_factor: float = 1.0
    wave: float = 0.0

    @property
    def inputs(self) -> tuple[SimpleNamespace, ...]:
        numeric = [SimpleNamespace(name=name, type="numeric", levels=None) for name, _ in self.weights]
        if self.purposes:
            levels = tuple(name for name, _ in self.purposes)
            numeric.append(SimpleNamespace(name="purpose", type="categorical", levels=levels))
        return tuple(numeric)

    @property
    def grades(self) -> tuple[SimpleNamespace, ...]:
        rows = zip(GRADE_NAMES, GRADE_UPPER, grade_pds(), strict=True)
        return tuple(SimpleNamespace(name=n, upper=u, pd=float(p) * self.p_factor) for n, u, p in rows)

    @property
    def digest(self) -> str:
        return digest_of([self.intercept, self.weights, self.purposes, self.p_factor, self.wave])

    def check_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        missing = [i.name for i in self.inputs if i.name not in columns]
        assert not missing, missing

    def _effects(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        parts = []
        for name, weight in self.weights:
            x = np.asarray(columns[name], dtype=np.float64)
            effect = np.where(np.isnan(x), MISSING_INCOME * np.sign(weight) * -1.0, weight * np.nan_to_num(x))
            if name == "utilisation" and self.wave:
                effect = effect + self.wave * np.sin(3.0 * np.nan_to_num(x))
            parts.append(effect)
        if self.purposes:
            table = dict(self.purposes)
            parts.append(np.array([table.get(v, 0.0) for v in columns["purpose"]], dtype=np.float64))
        return np.column_stack(parts)

    def margin(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        return cast(Floats, self.intercept + self._effects(columns).sum(axis=1))

    def probability(self, margin: Floats) -> Floats:
        return cast(Floats, self.p_factor / (1.0 + np.exp(-np.asarray(margin, dtype=np.float64))))

    def grade(self, p: Floats) -> NDArray[np.int64]:
        # A factor scales the master scale too: the fault is in the level, not in the grade a row falls into.
        return np.searchsorted(np.asarray(GRADE_UPPER[:-1]) * self.p_factor, p, side="left").astype(np.int64)

    def contributions(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Floats, float]:
        return self._effects(columns), self.intercept

    def score_row(self, row: Mapping[str, Any]) -> SimpleNamespace:
        columns: dict[str, NDArray[Any]] = {}
        for item in self.inputs:
            value = row[item.name]
            numeric = item.type == "numeric"
            columns[item.name] = np.array(
                [np.nan if numeric and value is None else value], float if numeric else object
            )
        margin = self.margin(columns)
        p = self.probability(margin)
        return SimpleNamespace(margin=float(margin[0]), p=float(p[0]), grade=int(self.grade(p)[0]), phi=None)


@functools.cache
def grade_pds() -> tuple[float, ...]:
    """PD of each grade: mean true probability of a large population that falls into it."""
    x = _columns(np.random.default_rng(0), 40_000)
    truth = make_scorer()
    p = truth.probability(truth.margin(x))
    grade = truth.grade(p)
    return tuple(float(np.round(p[grade == g].mean(), 5)) for g in range(len(GRADE_NAMES)))


def _columns(rng: np.random.Generator, n: int) -> dict[str, NDArray[Any]]:
    """Model inputs of n applicants."""
    x: dict[str, NDArray[Any]] = {name: np.round(rng.normal(size=n), 3) for name in NUMERIC}
    x["income"] = np.where(rng.random(n) < 0.04, np.nan, x["income"])
    x["purpose"] = rng.choice(np.array(PURPOSES, dtype=object), n)
    return x


@functools.cache
def _policy_text() -> str:
    return POLICY_FILE.read_text(encoding="utf-8")


def policy_document() -> dict[str, Any]:
    """The house policy (conf/policy/standard.yaml) as plain data."""
    return cast(dict[str, Any], yaml.safe_load(_policy_text()))


def spec_document(**changes: Any) -> dict[str, Any]:
    """A complete spec of a small PD model; top-level keys can be replaced."""
    columns = {name: {"type": "number", "nullable": True, "meaning": name} for name in NUMERIC}
    columns |= {name: {"type": "text", "nullable": True} for name in ("purpose", "region", "sex")}
    columns |= {"defaulted": {"type": "integer"}, "opened": {"type": "date"}}
    features: dict[str, Any] = {
        name: {"meaning": f"{name} of the applicant", "expected": "increasing" if w > 0 else "decreasing", "unit": "sd"}
        for name, w in WEIGHTS.items()
    }
    features["purpose"] = {"meaning": "purpose of the loan", "type": "categorical"}
    document: dict[str, Any] = {
        "name": "toy_pd",
        "title": "Toy PD",
        "kind": "pd",
        "version": "1.0.0",
        "as_of": "2026-06-30",
        "decide_by": "2026-09-30",
        "identity": {"owner": "Ann Owner", "developer": "Dan Developer", "validator": "Val Validator"},
        "tiering": {
            "is_model": "It estimates a probability from data.",
            "exposure": "medium",
            "purpose": "high",
            "complexity": "low",
            "interconnection": "low",
            "data_quality": "low",
        },
        "purpose": {
            "decision": "Approve or decline a loan.",
            "population": "Retail applicants.",
            "permitted": ["new loans"],
            "prohibited": ["capital"],
            "affected": "Applicants.",
            "automated": False,
            "natural_persons": True,
            "can_decline": True,
            "jurisdictions": ["EU"],
            "assumptions": [{"text": "The past is like the future.", "test": "stab.psi"}],
        },
        "source": {
            "kind": "csv",
            "name": "toy",
            "title": "Toy loans",
            "owner": "Data office",
            "licence": "CC0",
            "personal_data": "none",
            "synthetic": True,
            "time_zone": "UTC",
            "currency": "EUR",
            "as_of": "2026-06-30",
            "path": "toy.csv",
        },
        "contract": {"name": "toy", "columns": columns},
        "data": {"time": "opened", "entity": "customer", "segments": ["region"]},
        "outcome": {
            "column": "defaulted",
            "definition": "90 days past due within 12 months.",
            "horizon_months": 12,
            "maturity": {"basis": "dates"},
        },
        "features": features,
        "split": {"kind": "out_of_time", "out_of_time_from": "2024-07-01", "seed": 1},
        "learner": {"kind": "logistic"},
        "grades": {"scale": {"kind": "fixed", "upper": list(GRADE_UPPER)}, "names": list(GRADE_NAMES)},
        "challenger": {"learner": {"kind": "scorecard"}, "why": "The simplest model a committee would accept."},
        "fairness": {
            "attributes": {"sex": {"column": "sex", "provenance": "self-reported", "reference": "men"}},
            "criterion": "Equal opportunity.",
        },
        "decision": {
            "name": "toy_cutoff",
            "version": "1.0.0",
            "cutoff": 0.2,
            "cutoff_rationale": "Break-even.",
            "reasons": {
                "R01": {"text": "Credit use is high", "features": ["utilisation"]},
                "R02": {"text": "Payments were late", "features": ["arrears"]},
                "R03": {"text": "Income", "features": ["income"]},
                "R04": {"text": "Length of relationship", "features": ["tenure"]},
                "R05": {"text": "Purpose of the loan", "features": ["purpose"]},
            },
        },
        "policy": policy_document(),
    }
    return document | changes


@functools.lru_cache(maxsize=8)
def _default_spec() -> ModelSpec:
    return ModelSpec.model_validate(spec_document())


def make_spec(**changes: Any) -> ModelSpec:
    """The spec of :func:`spec_document`, validated."""
    return ModelSpec.model_validate(spec_document(**changes)) if changes else _default_spec()


def make_scorer(
    base_rate: float = 0.08, *, p_factor: float = 1.0, wave: float = 0.0, wrong_sign: bool = False
) -> LogisticScorer:
    """The scorer that holds the true law (or, with a fault, does not)."""
    weights = {k: (-v if wrong_sign and k in ("arrears", "income") else v) for k, v in WEIGHTS.items()}
    intercept = float(np.log(base_rate / (1 - base_rate)) - 0.35)
    return LogisticScorer(intercept, tuple(weights.items()), tuple(PURPOSE_WEIGHT.items()), p_factor, wave)


def make_challenger(base_rate: float = 0.08) -> LogisticScorer:
    """A simpler model: two inputs of five."""
    weights = (("arrears", WEIGHTS["arrears"]), ("income", WEIGHTS["income"]))
    return LogisticScorer(float(np.log(base_rate / (1 - base_rate)) - 0.1), weights, ())


def make_inputs(
    n: int = 8000,
    seed: int = 7,
    *,
    base_rate: float = 0.08,
    null_model: bool = False,
    halve_p: bool = False,
    champion_worse: bool = False,
    same_as_challenger: bool = False,
    shift: float = 0.0,
    unfair: float = 0.0,
    non_monotone: float = 0.0,
    challenger: bool = True,
    dates: bool = True,
    out_of_time: bool = True,
    protected: bool = True,
    previous: Mapping[str, Any] | None = None,
    spec: ModelSpec | None = None,
) -> EvidenceInput:
    """A sound synthetic PD model, or one with a planted fault.

    Args:
        n: Rows over all samples; the test sample has a quarter (out-of-time).
        base_rate: About the share of events.
        null_model: Outcomes that have nothing to do with the score.
        halve_p: Every probability and grade PD is half of what it should be.
        champion_worse: Two weights of the champion have the wrong sign.
        same_as_challenger: The champion is no better than the challenger: same scores.
        shift: Standard deviations by which ``utilisation`` moves out-of-time.
        unfair: Standard deviations by which ``utilisation`` is raised for women, with no effect on the outcome.
        non_monotone: Height of a wave of ``utilisation`` in the score.
        dates: False leaves out dates, vintages and entities.
        out_of_time: False leaves the hold-out as the test sample.
        spec: Another spec than :func:`make_spec` gives.
    """
    rng = np.random.default_rng(seed)
    truth = make_scorer(base_rate)
    champion = make_scorer(base_rate, p_factor=0.5 if halve_p else 1.0, wave=non_monotone, wrong_sign=champion_worse)
    rival = make_challenger(base_rate)
    if same_as_challenger:
        champion = LogisticScorer(truth.intercept, rival.weights, ())
    roles = {k: v for k, v in ROLES.items() if out_of_time or k != "out_of_time"}
    total = sum(roles.values())
    samples = {}
    for role, share in roles.items():
        drift = shift if role == "out_of_time" else 0.0
        samples[role] = _sample(
            rng, role, round(n * share / total), truth, champion, rival if challenger else None,
            drift=drift, unfair=unfair, null_model=null_model, dates=dates, protected=protected,
        )  # fmt: skip
    declared = make_spec() if spec is None else spec
    return EvidenceInput(
        spec=declared,
        samples=cast(Any, samples),
        scorer=cast(FrozenScorer, champion),
        challenger=cast(FrozenScorer, rival) if challenger else None,
        contract=_contract_document(n),
        dataset=_dataset_document(samples),
        training={"learner": "logistic", "params": {"c": 1.0}, "trials": [], "best_trial": None},
        previous=previous,
        data_hash="d" * 64,
        semantics={"metrics": "1", "validation": "1"},
    )


def _sample(
    rng: np.random.Generator,
    role: str,
    n: int,
    truth: LogisticScorer,
    champion: LogisticScorer,
    rival: LogisticScorer | None,
    *,
    drift: float,
    unfair: float,
    null_model: bool,
    dates: bool,
    protected: bool,
) -> Sample:
    sex = np.where(rng.random(n) < 0.45, "women", "men").astype(object)
    region = rng.choice(np.array(["north", "south", "west"], dtype=object), n, p=[0.5, 0.35, 0.15])
    x = _columns(rng, n)
    p_true = truth.probability(truth.margin(x))
    y = (rng.random(n) < (np.full(n, p_true.mean()) if null_model and n else p_true)).astype(np.int8)
    x["utilisation"] = x["utilisation"] + drift + unfair * (sex == "women")
    margin = champion.margin(x)
    p = champion.probability(margin)
    time = vintage = entity = None
    if dates:
        start = np.datetime64("2024-07-01" if role == "out_of_time" else "2022-07-01")
        time = start + rng.integers(0, 365 if role == "out_of_time" else 730, n).astype("timedelta64[D]")
        month = time.astype("datetime64[M]").astype(np.int64)
        vintage = np.array([f"{1970 + m // 12}Q{m % 12 // 3 + 1}" for m in month], dtype=object)
        entity = np.array([f"{role[0]}{i}" for i in range(n)], dtype=object)
    rival_margin = None if rival is None else rival.margin(x)
    return Sample(
        role=cast(Any, role),
        label=LABELS[role],
        y=y,
        margin=margin,
        p=p,
        grade=champion.grade(p),
        grade_pd=np.array(grade_pds()) * champion.p_factor,
        grade_names=GRADE_NAMES,
        features=x,
        segments={"region": region},
        time=time,
        vintage=vintage,
        entity=entity,
        protected={"sex": sex} if protected else {},
        challenger_margin=rival_margin,
        challenger_p=None if rival is None or rival_margin is None else rival.probability(rival_margin),
    )


def _contract_document(n: int) -> dict[str, Any]:
    rules = [{"rule": "type", "column": name, "failed": 0, "share": 0.0} for name in NUMERIC]
    columns = {name: {"type": "number", "missing": 0, "distinct": n} for name in NUMERIC}
    table = {
        "contract": "toy",
        "rows": n,
        "accepted": n,
        "quarantined": 0,
        "tolerance": 0.0,
        "rules": rules,
        "columns": columns,
        "duplicates": 0,
        "freshness": None,
    }
    return {"tables": {"main": table}, "source": {"digest": "s" * 64, "name": "toy", "licence": "CC0"}}


def _dataset_document(samples: Mapping[str, Sample]) -> dict[str, Any]:
    n = sum(s.n for s in samples.values())
    return {
        "rows_in": n,
        "waterfall": [{"step": "read", "rows": n, "dropped": 0, "reason": ""}],
        "samples": {role: {"n": s.n, "events": s.events} for role, s in samples.items()},
        "lineage": {},
        "content_digest": "d" * 64,
        "maturity": {"evaluated": True, "immature": 0, "n": n, "reason": ""},
        "overlap": {"entities": 0},
        "guards": [],
        "columns": {name: {"missing": 0} for name in (*NUMERIC, "purpose")},
    }
