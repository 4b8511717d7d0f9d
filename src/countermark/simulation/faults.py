"""Planted faults: what a faulty release does wrong, and the guard that must find it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from countermark.config.problems import nearest, one_of
from countermark.config.rollout import RolloutPlan
from countermark.config.spec import ModelSpec
from countermark.errors import ScorerError, SimulationError
from countermark.rollout.guards import declared
from countermark.scoring.decider import Decided, Decider
from countermark.serving.release import ServedRelease

ERRORS_EVERY, SLOW_EVERY = 10, 4
SLOW_TIMES = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that can be planted.

    Attributes:
        name: Its name in the option.
        guard: Guard of a rollout plan that looks for it.
        told: What is wrong, in words.
    """

    name: str
    guard: str
    told: str


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("cutoff", "decision_rate", "the cut-off of its decision policy lost a digit"),
        Fault("errors", "errors", f"every {ERRORS_EVERY}th of its scores ends in an error"),
        Fault("latency", "latency", f"every {SLOW_EVERY}th of its scores takes {SLOW_TIMES:g} times what is allowed"),
    )
}


def fault_of(name: str) -> Fault:
    """The fault of a name.

    Raises:
        SimulationError: If there is none.
    """
    if name not in FAULTS:
        raise SimulationError(
            f"there is no fault '{name}'", expected=one_of(FAULTS), got=f"'{name}'", hint=nearest(name, FAULTS)
        )
    return FAULTS[name]


def check_fault(fault: Fault, plan: RolloutPlan, spec: ModelSpec) -> None:
    """Refuse a fault that nothing looks for, or that the model cannot have.

    Raises:
        SimulationError: Saying which.
    """
    if fault.guard not in declared(plan.guards):
        raise SimulationError(
            f"rollout plan '{plan.name}' has no guard '{fault.guard}', so nothing would turn fault '{fault.name}' back",
            expected=f"guards.{fault.guard} in conf/rollout/{plan.name}.yaml",
            got=", ".join(declared(plan.guards)) or "no guards",
        )
    if fault.name == "cutoff" and spec.decision is None:
        raise SimulationError(
            f"model '{spec.name}' has no decision policy whose cut-off could be wrong", expected="errors or latency"
        )


def next_version(version: str) -> str:
    """The patch version after another."""
    major, minor, patch = version.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"


def write_version(root: Path, spec: ModelSpec, fault: Fault) -> str:
    """Declare the next version of a model in a throw-away bank, with what the fault changes in its YAML.

    Returns:
        The version.
    """
    path = root / "conf" / "model" / f"{spec.name}.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    version = next_version(spec.version)
    document["version"] = version
    if fault.name == "cutoff":
        assert spec.decision is not None
        wrong = {"version": f"{spec.decision.version}-planted", "cutoff": spec.decision.cutoff / 10}
        document["decision"] = {**document.get("decision", {}), **wrong}
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return version


class FailingDecider(Decider):
    """A decider of which every tenth score ends in an error."""

    asked = 0

    def decide(self, vector: Mapping[str, float | str | None]) -> Decided:
        """As :meth:`~countermark.scoring.decider.Decider.decide`, where it does not fail.

        Raises:
            ScorerError: Every tenth time.
        """
        self.asked += 1
        if self.asked % ERRORS_EVERY == 0:
            raise ScorerError("a planted fault")
        return super().decide(vector)


class SlowDecider(Decider):
    """A decider of which every fourth score comes late.

    Attributes:
        seconds: How late.
    """

    asked = 0
    seconds = 0.0

    def decide(self, vector: Mapping[str, float | str | None]) -> Decided:
        """As :meth:`~countermark.scoring.decider.Decider.decide`, at times late."""
        self.asked += 1
        if self.asked % SLOW_EVERY == 0:
            time.sleep(self.seconds)
        return super().decide(vector)


def plant(release: ServedRelease, fault: Fault, plan: RolloutPlan) -> None:
    """Break a release that is served in this process, where the fault is none of its files."""
    parts = (release.decider.scorer, release.decider.policy, release.profile)
    if fault.name == "errors":
        release.decider = FailingDecider(*parts)
    if fault.name == "latency":
        assert plan.guards.latency is not None
        slow = SlowDecider(*parts)
        slow.seconds = SLOW_TIMES * plan.guards.latency.limit_ms / 1000.0
        release.decider = slow
