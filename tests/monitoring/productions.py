"""Production of one model on a SQLite ledger, with or without a planted fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from countermark.config.monitor import MonitorPlan
from countermark.ledger.entry import Item
from countermark.ledger.opening import open_ledger
from countermark.monitoring.profile import numeric_profile
from countermark.monitoring.run import ModelRun, WatchedRelease, run_monitor
from countermark.records.clock import iso
from countermark.records.decision import (
    DecisionRecord,
    Digests,
    OutcomeRecord,
    OverrideRecord,
    ReleaseBinding,
    Route,
    ViewReading,
    encode,
)
from countermark.records.lights import Light
from countermark.records.profile import CategoricalProfile, Expected, GroupProfile, ReferenceProfile
from countermark.records.watch import Reading

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
MATURITY, WINDOW = 30, 30
LEVELS = ("north", "south", "east")
Change = Callable[[DecisionRecord, np.random.Generator], DecisionRecord]

UPPER: dict[str, Any] = {"kind": "upper", "watch": 0.05, "fail": 0.10, "source": "t"}
LIMITS: dict[str, Any] = {
    "daily_volume": {"kind": "lower", "watch": 30, "fail": 10, "source": "t"},
    "missing_shift": UPPER,
    "unseen_share": {**UPPER, "watch": 0.001, "fail": 0.01},
    "expired_share": UPPER,
    "feature_psi": {**UPPER, "watch": 0.1, "fail": 0.25},
    "score_psi": {**UPPER, "watch": 0.1, "fail": 0.25},
    "decision_shift": UPPER,
    "auc": {"kind": "lower", "watch": 0.65, "fail": 0.60, "source": "t"},
    "auc_drop": {**UPPER, "watch": 0.08, "fail": 0.12},
    "calibration": {"kind": "p_value", "watch": 0.05, "fail": 0.01, "source": "t"},
    "adverse_impact": {"kind": "band", "inner": [0.8, 1.25], "outer": [0.7, 1.43], "source": "t"},
}


def plan(**changes: Any) -> MonitorPlan:
    """Every check on."""
    document: dict[str, Any] = {
        "name": "m",
        "version": "1.0.0",
        "owner": "Olga",
        "source_note": "t",
        "window_days": WINDOW,
        "maturity_days": MATURITY,
        "performance_days": 60,
        "minimum_rows": 100,
        "minimum_events": 10,
        "minimum_group": 30,
        "limits": LIMITS,
    }
    return MonitorPlan.model_validate(document | changes)


def only(check: str, **changes: Any) -> MonitorPlan:
    """One check on."""
    return plan(limits={check: LIMITS[check]}, **changes)


def kpi(measure: str, limit: Mapping[str, Any]) -> MonitorPlan:
    """A KPI and no check."""
    declared = {"meaning": "t", "measure": measure, "limit": limit, "owner": "Karl"}
    return plan(limits={}, kpis={"figure": declared})


@dataclass(frozen=True)
class Population:
    """Cases as they were at validation: what happens later is drawn from the same."""

    x: np.ndarray
    region: np.ndarray
    p: np.ndarray
    y: np.ndarray


def population(n: int, seed: int) -> Population:
    """An input that ranks (5 % missing), a region, the true probability and the outcome."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 1.0, n)
    p = 1.0 / (1.0 + np.exp(1.6 - 1.2 * x))
    y = (rng.random(n) < p).astype(np.int64)
    shown = np.where(rng.random(n) < 0.05, np.nan, x)
    return Population(shown, np.array(LEVELS, dtype=object)[rng.choice(3, n, p=[0.5, 0.3, 0.2])], p, y)


def profile(**changes: Any) -> ReferenceProfile:
    """Profile of 20,000 cases."""
    made = population(20_000, 1)
    counts = tuple(int((made.region == level).sum()) for level in LEVELS)
    built = ReferenceProfile(
        model="m",
        sample="holdout",
        n=20_000,
        events=int(made.y.sum()),
        numeric={"x": numeric_profile(made.x, 10)},
        categorical={"region": CategoricalProfile(levels=LEVELS, counts=counts, other=0, missing=0)},
        score=numeric_profile(made.p, 20),
        grades={},
        favourable=int((made.p < 0.3).sum()),
        groups={"sex": {g: GroupProfile(n=10_000, favourable=7_000) for g in ("f", "m")}},
        performance={"auc": Expected(value=0.77, low=0.76, high=0.78)},
        importance={"x": 0.9, "region": 0.1},
        reason_reference={},
    )
    return msgspec.structs.replace(built, **changes)


def release(**changes: Any) -> WatchedRelease:
    """The release that decided."""
    known: dict[str, Any] = {"profile": profile(), "favourable": "approve", "reference_group": {"sex": "m"}}
    return WatchedRelease(**{**known, **changes})


def record(identity: str, at: str, p: float, **changes: Any) -> DecisionRecord:
    """A decision; unfavourable from 0.3 on."""
    made = DecisionRecord(
        id=identity,
        at=at,
        channel="simulation",
        model="m",
        entity=f"e-{identity}",
        request={},
        features={"x": 0.0, "region": "north"},
        views=(ViewReading(view="v", version="1", as_of=at),),
        release=ReleaseBinding(model="m", version="1.0.0", position=1, tag_object="", bundle=""),
        digests=Digests(scorer="", decision_policy="", environment=""),
        margin="0x0p+0",
        p=float(p).hex(),
        grade=None,
        decision="decline" if p >= 0.3 else "approve",
        reasons=(),
        route=Route(arm="champion"),
    )
    return msgspec.structs.replace(made, **changes)


def bound(record: DecisionRecord, version: str) -> DecisionRecord:
    """The same decision by another release."""
    return msgspec.structs.replace(record, release=msgspec.structs.replace(record.release, version=version))


def outcome(decision: str | None, value: float, known_at: str, **changes: Any) -> OutcomeRecord:
    """An outcome, observed when it was learned."""
    known: dict[str, Any] = {
        "model": "m", "decision": decision, "entity": None, "observed_at": known_at, "known_at": known_at,
        "value": value, "source": "t",
    }  # fmt: skip
    return OutcomeRecord(**{**known, **changes})


@dataclass
class World:
    """A ledger in a folder, and what is appended to it."""

    folder: Path
    releases: dict[str, WatchedRelease] = field(default_factory=lambda: {"1.0.0": release()})

    def __post_init__(self) -> None:
        self.ledger = open_ledger(self.folder)
        self.groups: dict[str, dict[str, str]] = {}
        self.count = 0

    def put(self, kind: str, key: str, of: Any, at: str) -> None:
        self.ledger.append(kind, key, encode(of), at)

    def decide(
        self, n: int, *, ago: float = 15.0, seed: int = 2, change: Change | None = None, labels: int | None = None
    ) -> list[DecisionRecord]:
        """``n`` decisions ``ago`` days before the instant; ``labels`` of them get their outcome at once."""
        rng, cases = np.random.default_rng(seed + 1000), population(n, seed)
        at = iso(AS_OF - timedelta(days=ago))
        items: list[Item] = []
        made = []
        for k in range(n):
            self.count += 1
            identity = f"d{self.count:06d}"
            x = None if np.isnan(cases.x[k]) else float(cases.x[k])
            one = record(identity, at, cases.p[k], features={"x": x, "region": str(cases.region[k])})
            one = one if change is None else change(one, rng)
            made.append(one)
            self.groups[one.entity or ""] = {"sex": "f" if k % 2 else "m"}
            items.append(("decision", one.id, encode(one), at))
        for one, y in list(zip(made, cases.y.tolist(), strict=True))[: labels or 0]:
            items.append(("outcome", one.id, encode(outcome(one.id, y, at)), at))
        self.ledger.append_many(items)
        return made

    def told(self, decision: str | None, value: float, *, ago: float, **changes: Any) -> None:
        """The bank learns of an outcome."""
        at = iso(AS_OF - timedelta(days=ago))
        of = outcome(decision, value, changes.pop("known_at", at), **changes)
        self.put("outcome", decision or str(of.entity), of, at)

    def overrides(self, records: Sequence[DecisionRecord]) -> None:
        """A person decides otherwise."""
        for one in records:
            made = OverrideRecord(decision=one.id, at=one.at, by="ann", outcome="approve", reason="t")
            self.put("override", one.id, made, one.at)

    def run(self, declared: MonitorPlan, *, days: float = 0.0, groups: Any = None) -> ModelRun:
        """A monitoring run, ``days`` after the instant."""
        as_of = AS_OF + timedelta(days=days)
        (made,) = run_monitor(self.ledger, {"m": self.releases}, {"m": declared}, as_of, groups=groups)
        return made

    def read(self, declared: MonitorPlan, *, groups: Any = None) -> dict[str, Reading]:
        """Readings of a run by subject."""
        return {reading.subject: reading for reading in self.run(declared, groups=groups).watch.readings}

    def light(self, declared: MonitorPlan, subject: str = "all", *, groups: Any = None) -> Light:
        return self.read(declared, groups=groups)[subject].light

    def close(self) -> None:
        self.ledger.close()
