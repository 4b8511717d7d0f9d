"""What a build would do, told before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from countermark.config.bank import Bank
from countermark.config.load import Loaded, load_bank, model_names
from countermark.config.spec import ModelSpec
from countermark.config.wording import without_words
from countermark.config.yamlfile import parse_plain
from countermark.errors import BuildError, ConfigError
from countermark.portfolio.checked import load_checked
from countermark.portfolio.compile import model_dvc_file, model_params
from countermark.portfolio.dag import GROUPS, model_stages

RUN_LOG = ".countermark/runs.jsonl"
"""Wall-clock figures of past stage runs, one JSON object a line. Never an input of a build, never in git."""

_EFFECT_ORDER = ("scores", "evidence", "document")


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage of the plan.

    Attributes:
        effect: What its change means to a validator: ``scores``, ``evidence`` or ``document``; of a stage that runs,
            no more than what changed can touch.
        action: ``run`` (an input of its own changed), ``may run`` (an earlier stage runs; DVC skips it
            if that one's output comes out the same), ``fresh``.
        reasons: What changed, in words.
        seconds: Seconds of the last run, or None without history.
    """

    name: str
    effect: str
    action: Literal["run", "may run", "fresh"]
    reasons: tuple[str, ...]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The plan of one model."""

    model: str
    stages: tuple[StagePlan, ...]
    change_class: str
    approvals: str
    not_evaluated: tuple[tuple[str, str], ...]


def plan_models(root: Path, names: tuple[str, ...]) -> tuple[ModelPlan, ...]:
    """Plan the named models, or all of them.

    Raises:
        ConfigError: Unknown model, or a spec that does not compose.
    """
    known = model_names(root)
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no model '{name}'", expected="one of: " + ", ".join(known), got=f"'{name}'")
    bank, history = load_bank(root), _history(root)
    return tuple(_plan_model(root, load_checked(root, name), bank, history) for name in names or known)


@dataclass(frozen=True, slots=True)
class _Change:
    """What differs from the recorded run, in words, and the most that it can touch."""

    text: str
    bound: str = "scores"


def _plan_model(root: Path, loaded: Loaded, bank: Bank, history: Mapping[str, float]) -> ModelPlan:
    spec = loaded.spec
    wanted = model_dvc_file(root, loaded)["stages"]
    params = model_params(spec, bank)
    lock = _lock(root / "models" / spec.name / "dvc.lock")
    produced: dict[str, str] = {}
    plans: list[StagePlan] = []
    for stage in model_stages(spec):
        entry = wanted[stage.name]
        changes = _changes(root, entry, lock.get(stage.name), params, produced)
        reasons = tuple(change.text for change in changes)
        upstream = [produced[dep] for dep in entry["deps"] if dep in produced]
        moving = [name for name in upstream if any(p.name == name and p.action != "fresh" for p in plans)]
        action: Literal["run", "may run", "fresh"] = "run" if reasons else "may run" if moving else "fresh"
        if action == "may run":
            reasons = ("after " + ", ".join(dict.fromkeys(moving)),)
        produced.update(dict.fromkeys(entry["outs"], stage.name))
        effect = _reached(stage.effect, changes)
        plans.append(StagePlan(stage.name, effect, action, reasons, history.get(f"{spec.name}/{stage.name}")))
    return ModelPlan(spec.name, tuple(plans), _change_class(spec, plans, lock), _approvals(root, spec), _gaps(spec))


def _changes(
    root: Path,
    entry: Mapping[str, Any],
    locked: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    produced: Mapping[str, str],
) -> tuple[_Change, ...]:
    if locked is None:
        return (_Change("never built"),)
    found: list[_Change] = []
    if locked.get("cmd") != entry["cmd"]:
        found.append(_Change("command changed"))
    recorded = {dep["path"]: dep.get("md5") for dep in locked.get("deps", ())}
    for dep in entry["deps"]:
        if dep not in recorded:
            found.append(_Change(f"new dependency {dep}"))
        elif dep not in produced and (root / dep).is_file() and _md5(root / dep) != recorded[dep]:
            found.append(_Change(f"{dep} edited"))
    found += [_Change(f"{dep} no longer used") for dep in recorded if dep not in entry["deps"]]
    before: Mapping[str, Any] = next(iter(locked.get("params", {}).values()), {})
    for key in next(iter(entry.get("params", [{}])[0].values()), ()):
        now = _pick(params, key)
        if key not in before:
            found.append(_Change(f"{key} is new"))
        elif before[key] != now:
            found.append(_Change(_difference(key, before[key], now), _bound(key, before[key], now)))
    return tuple(found)


def _bound(key: str, before: Any, now: Any) -> str:
    """The most that a changed key can touch: words of people reach documents, groups of people reach evidence."""
    top, _, below = key.partition(".")
    if top == "spec" and _sense(below, before) == _sense(below, now):
        return "document"
    return "evidence" if top == GROUPS else "scores"


def _sense(key: str, value: Any) -> Any:
    """A part of the spec without words; the whole of it for the key ''."""
    if not key:
        return without_words(value)
    return without_words({key: value}) if "." not in key else value


def _reached(effect: str, changes: tuple[_Change, ...]) -> str:
    """What a stage touches: its own effect, or less where nothing that changed can reach it."""
    most = min((_EFFECT_ORDER.index(change.bound) for change in changes), default=0)
    return _EFFECT_ORDER[max(most, _EFFECT_ORDER.index(effect))]


def _difference(key: str, before: Any, now: Any) -> str:
    """The deepest keys that differ, at most three of them."""
    leaves = list(_leaves(key, before, now))
    shown = ", ".join(leaves[:3])
    return shown if len(leaves) <= 3 else f"{shown} and {len(leaves) - 3} more"


def _leaves(key: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*now, *(k for k in before if k not in now)]
        return [
            leaf
            for k in keys
            if before.get(k) != now.get(k)
            for leaf in _leaves(f"{key}.{k}", before.get(k), now.get(k))
        ]
    return [f"{key.removeprefix('spec.').removeprefix('scores.')} {_short(before)} -> {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _pick(params: Mapping[str, Any], key: str) -> Any:
    here: Any = params
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _change_class(spec: ModelSpec, plans: list[StagePlan], lock: Mapping[str, Any]) -> str:
    if not lock:
        return "new model"
    touched = {p.effect for p in plans if p.action == "run" and p.name != "spec"}
    for effect in _EFFECT_ORDER:
        if effect in touched:
            return str(getattr(spec.policy.change_class, effect))
    return "none"


def _approvals(root: Path, spec: ModelSpec) -> str:
    if (root / "governance" / "baselines" / spec.name).is_dir():
        return "approvals bound to the last published results lapse if the scores or the evidence change"
    return "none to lapse: no release of this model has been published"


def _gaps(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    """Gating evidence that the spec alone says cannot be evaluated."""
    found: list[tuple[str, str]] = []
    if spec.identity.validator is None:
        found.append(("B3", "no validator is named in 'identity'"))
    if not spec.source.reconcile:
        found.append(("C1", "the source declares no control totals ('reconcile')"))
    if spec.data.entity is None:
        found.append(("C2", "no entity is declared, so overlap of train and test cannot be checked"))
    if spec.outcome.maturity.basis == "none":
        found.append(("C3", "label maturity is not judged: outcome.maturity.basis is 'none'"))
    if spec.challenger is None:
        found.append(("E5", "no challenger is declared"))
    if spec.fairness is None and spec.purpose.natural_persons and not spec.is_amount:
        found.append(("F1-F3", "no protected attribute is available in the data"))
    return tuple(found)


def _lock(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = parse_plain(path.read_text(encoding="utf-8")) or {}
        stages: dict[str, Any] = document["stages"] if document else {}
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise BuildError(
            "a lock file of DVC cannot be read",
            expected="the file as DVC wrote it",
            got=str(error).splitlines()[0],
            hint="if two branches were merged here, take one side whole ('git checkout --theirs') and build again",
            file=path,
        ) from error
    return stages


def _history(root: Path) -> dict[str, float]:
    path = root / RUN_LOG
    if not path.is_file():
        return {}
    runs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {f"{run['model']}/{run['stage']}": float(run["seconds"]) for run in runs}


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def plan_text(plans: tuple[ModelPlan, ...]) -> str:
    """The plan as a person reads it."""
    lines: list[str] = []
    for plan in plans:
        moving = [stage for stage in plan.stages if stage.action != "fresh"]
        known = [stage.seconds for stage in moving if stage.seconds is not None]
        time = "nothing to run"
        if moving:
            time = f"about {sum(known) / 60:.1f} min" if len(known) == len(moving) else "minutes unknown: no history"
        lines.append(f"{plan.model}: {len(moving)} of {len(plan.stages)} stages, {time}")
        for stage in plan.stages:
            seconds = "" if stage.seconds is None else f"{stage.seconds:6.1f} s"
            lines.append(f"  {stage.action:<8} {stage.name:<10} {seconds:>9}  {'; '.join(stage.reasons)}".rstrip())
        lines.append(f"  change class   {plan.change_class}")
        lines.append(f"  approvals      {plan.approvals}")
        if plan.not_evaluated:
            lines.append("  will be Not evaluated")
            lines += [f"    {section:<6} {reason}" for section, reason in plan.not_evaluated]
        lines.append("")
    return "\n".join(lines).rstrip()
