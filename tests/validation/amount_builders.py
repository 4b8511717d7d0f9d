"""A sound synthetic model of an amount as ``EvidenceInput``, and the same model with one planted fault.

The scorer is a plain sum behind the frozen scorer's methods, under the identity link. Amounts are losses as shares
(kind ``lgd``), or the same times an exposure in money (kind ``ead``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from countermark.config.spec import ModelSpec
from countermark.records.digest import digest_of
from countermark.scoring.frozen import FrozenScorer
from countermark.validation.inputs import EvidenceInput, Sample
from tests.validation.builders import LABELS, ROLES, make_inputs, spec_document

Floats = NDArray[np.float64]

WEIGHTS = {"cover": -0.18, "age": -0.05}
REGIONS = {"north": 0.0, "south": 0.08, "west": -0.05}
MEAN = 0.45
NOISE = 0.2
MONEY = 20_000.0
POOLS = ("P1", "P2", "P3", "P4", "P5")


@dataclass(frozen=True)
class SumScorer:
    """Stand-in for the frozen scorer of an amount: a sum of effects, pools of it, no calibration.

    Attributes:
        weights: Weight of each standardised numeric input.
        regions: Effect of each level of ``region``; empty leaves the input out.
        shift: Added to every estimate (a planted fault when it is not 0).
        scale: 1 for a share, the unit of an exposure for money.
        wave: Height of a sine of ``cover`` added to the estimate (a planted fault when it is not 0).
    """

    weights: tuple[tuple[str, float], ...]
    regions: tuple[tuple[str, float], ...]
    shift: float = 0.0
    scale: float = 1.0
    wave: float = 0.0

    @property
    def inputs(self) -> tuple[SimpleNamespace, ...]:
        found = [SimpleNamespace(name=name, type="numeric", levels=None) for name, _ in self.weights]
        if self.regions:
            found.append(SimpleNamespace(name="region", type="categorical", levels=tuple(n for n, _ in self.regions)))
        return tuple(found)

    @property
    def digest(self) -> str:
        return digest_of([self.weights, self.regions, self.shift, self.scale, self.wave])

    def _effects(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        parts = []
        for name, weight in self.weights:
            x = np.nan_to_num(np.asarray(columns[name], dtype=np.float64))
            parts.append(weight * x + (self.wave * np.sin(3.0 * x) if name == "cover" else 0.0))
        if self.regions:
            table = dict(self.regions)
            parts.append(np.array([table.get(v, 0.0) for v in columns["region"]], dtype=np.float64))
        return cast(Floats, np.column_stack(parts) * self.scale)

    @property
    def base(self) -> float:
        return (MEAN + self.shift) * self.scale

    def margin(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        effects = self._effects(columns)
        total = np.full(len(effects), self.base)
        for k in range(effects.shape[1]):
            total = total + effects[:, k]
        return cast(Floats, total)

    def probability(self, margin: Floats) -> Floats:
        return np.asarray(margin, dtype=np.float64)

    def contributions(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Floats, float]:
        return self._effects(columns), self.base


def amount_spec(kind: str = "lgd", **changes: Any) -> ModelSpec:
    """The spec of a small model of an amount."""
    document = spec_document()
    columns = {name: {"type": "number", "nullable": True} for name in (*WEIGHTS, "loss")}
    columns |= {"region": {"type": "text"}, "opened": {"type": "date"}}
    document |= {
        "name": "toy_loss",
        "kind": kind,
        "purpose": document["purpose"] | {"can_decline": False},
        "contract": {"name": "toy", "columns": columns},
        "outcome": document["outcome"] | {"column": "loss"},
        "features": {
            "cover": {"meaning": "collateral", "expected": "decreasing"},
            "age": {"meaning": "months on book", "expected": "decreasing"},
            "region": {"meaning": "region", "type": "categorical"},
        },
        "grades": {"scale": {"kind": "quantile", "count": len(POOLS)}},
        "challenger": {"learner": {"kind": "logistic"}, "why": "The simplest model."},
    }
    del document["decision"]
    return ModelSpec.model_validate(document | changes)


def make_amounts(
    n: int = 4000,
    seed: int = 7,
    *,
    kind: str = "lgd",
    null_model: bool = False,
    constant: bool = False,
    bias: float = 0.0,
    leak: bool = False,
    champion_worse: bool = False,
    non_monotone: float = 0.0,
    challenger: bool = True,
    dates: bool = True,
    customers: int = 0,
    spec: ModelSpec | None = None,
) -> EvidenceInput:
    """A sound model of an amount, or one with a planted fault.

    Args:
        n: Rows over all samples; the test sample has a quarter (out-of-time).
        kind: ``lgd``, or ``ead`` in money.
        null_model: Amounts that have nothing to do with the estimate.
        constant: One estimate for all rows.
        bias: Points by which every estimate is too high (below 0: too low).
        leak: The first input is the realised amount.
        champion_worse: One weight of the champion has the wrong sign.
        non_monotone: Height of a wave of ``cover`` in the estimate.
        challenger: Whether there is one.
        dates: False leaves out dates and vintages.
        customers: Distinct customers of the test sample; 0: every row is its own.
    """
    rng = np.random.default_rng(seed)
    scale = MONEY if kind == "ead" else 1.0
    truth = SumScorer(tuple(WEIGHTS.items()), tuple(REGIONS.items()), scale=scale)
    weights = {k: 0.0 if constant else (-v if champion_worse and k == "cover" else v) for k, v in WEIGHTS.items()}
    regions = {} if constant else REGIONS
    champion = SumScorer(tuple(weights.items()), tuple(regions.items()), bias, scale, non_monotone)
    rival = SumScorer((("cover", WEIGHTS["cover"]),), (), scale=scale)
    samples: dict[str, Sample] = {}
    cuts: Floats = np.empty(0)
    for role, share in ROLES.items():
        rows = round(n * share)
        x = _columns(rng, rows)
        mean = np.full(rows, MEAN * scale) if null_model else truth.margin(x)
        y = mean + rng.normal(0.0, NOISE * scale, rows)
        if leak:
            x["cover"] = y / scale
        p = champion.margin(x)
        if role == "development":
            cuts = np.unique(np.quantile(p, np.linspace(0, 1, len(POOLS) + 1)[1:-1])) if rows else cuts
        samples[role] = _sample(role, x, y, p, cuts, rival.margin(x) if challenger else None, dates, rng)
    if customers:
        test = samples["out_of_time"]
        owner = np.array([f"c{i % customers}" for i in range(test.n)], dtype=object)
        samples["out_of_time"] = dataclasses.replace(test, entity=owner)
    return dataclasses.replace(
        make_inputs(200),
        spec=amount_spec(kind) if spec is None else spec,
        samples=cast(Any, samples),
        scorer=cast(FrozenScorer, champion),
        challenger=cast(FrozenScorer, rival) if challenger else None,
        dataset={**make_inputs(200).dataset, "samples": {r: {"n": s.n, "events": None} for r, s in samples.items()}},
    )


def _columns(rng: np.random.Generator, n: int) -> dict[str, NDArray[Any]]:
    x: dict[str, NDArray[Any]] = {name: np.round(rng.normal(size=n), 3) for name in WEIGHTS}
    x["age"] = np.where(rng.random(n) < 0.03, np.nan, x["age"])
    x["region"] = rng.choice(np.array(list(REGIONS), dtype=object), n)
    return x


def _sample(
    role: str,
    x: dict[str, NDArray[Any]],
    y: Floats,
    p: Floats,
    cuts: Floats,
    rival: Floats | None,
    dates: bool,
    rng: np.random.Generator,
) -> Sample:
    n = y.size
    time = vintage = None
    if dates:
        start = np.datetime64("2024-07-01" if role == "out_of_time" else "2022-07-01")
        time = start + rng.integers(0, 365 if role == "out_of_time" else 730, n).astype("timedelta64[D]")
        month = time.astype("datetime64[M]").astype(np.int64)
        vintage = np.array([f"{1970 + m // 12}Q{m % 12 // 3 + 1}" for m in month], dtype=object)
    grade = np.searchsorted(cuts, p, side="left").astype(np.int64)
    names = POOLS[: cuts.size + 1]
    return Sample(
        role=cast(Any, role),
        label=LABELS[role],
        y=y,
        margin=p,
        p=p,
        grade=grade,
        grade_pd=np.array([float(p[grade == k].mean()) if (grade == k).any() else 0.0 for k in range(len(names))]),
        grade_names=names,
        features=x,
        segments={"region": x["region"]},
        time=time,
        vintage=vintage,
        challenger_margin=rival,
        challenger_p=rival,
        amounts=True,
    )
