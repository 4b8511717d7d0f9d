"""The opinion that the tool proposes: a pure function of register rows and declared controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from countermark.config.policy import GatingRule
from countermark.config.spec import Limitation, ModelSpec
from countermark.records.evidence import RegisterRow
from countermark.records.lights import Light
from countermark.records.register import registered_tests
from countermark.validation.catalogue import SeverityPolicy, severity_policy
from countermark.validation.phrasing import counted, decision_date, named, plus_months

Verdict: TypeAlias = Literal["Fit for use", "Fit with conditions", "Not fit", "Unable to conclude"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What bounds the harm of one Fail or Not evaluated: control, owner, expiry."""

    test_id: str
    section: str
    light: Light
    control: str
    owner: str
    expires: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the tool proposes; a named human decides.

    Attributes:
        verdict: One of four.
        why: At most three sentences.
        conditions: One per Fail or gating Not evaluated that is covered.
        failed: Gating tests that Fail without a control.
        open: Gating tests Not evaluated without a control.
        not_evaluated: Every gating test that is Not evaluated, covered or not.
    """

    verdict: Verdict
    why: tuple[str, ...]
    conditions: tuple[Condition, ...]
    failed: tuple[str, ...]
    open: tuple[str, ...]
    not_evaluated: tuple[str, ...]


def propose(rows: Sequence[RegisterRow], spec: ModelSpec) -> Opinion:
    """Propose an opinion from the gating rows.

    *Fit for use*: no gating Fail and no gating Not evaluated. *Fit with conditions*: each of them has a control
    with owner and expiry. *Not fit*: a gating Fail has none. *Unable to conclude*: only Not evaluated are left
    uncovered, or nothing gated at all. A control is a limitation of the spec that names the test and has not
    expired, or, at first validation, the gating table's leave to condition a Not evaluated.
    """
    policy = severity_policy()
    gating = [row for row in rows if row.gating]
    bad = _by_test(gating)
    conditions: list[Condition] = []
    failed: list[str] = []
    uncovered: list[str] = []
    for (section, test_id, light), group in bad.items():
        condition = _condition(section, test_id, light, spec, policy)
        if condition is not None:
            conditions.append(condition)
        elif light is Light.FAIL:
            failed.append(f"{section} {test_id}: {_subjects(group)}")
        else:
            uncovered.append(f"{section} {test_id}: {group[0].n_reason}")
    verdict = _verdict(bool(gating), bool(bad), bool(failed), bool(uncovered))
    return Opinion(
        verdict=verdict,
        why=_why(gating, bad, conditions),
        conditions=tuple(conditions),
        failed=tuple(failed),
        open=tuple(uncovered),
        not_evaluated=tuple(
            f"{section} {test_id}: {group[0].n_reason}"
            for (section, test_id, light), group in bad.items()
            if light is Light.NOT_EVALUATED
        ),
    )


def _verdict(any_gating: bool, any_bad: bool, any_failed: bool, any_uncovered: bool) -> Verdict:
    if any_failed:
        return "Not fit"
    if any_uncovered or not any_gating:
        return "Unable to conclude"
    return "Fit with conditions" if any_bad else "Fit for use"


def _by_test(gating: Sequence[RegisterRow]) -> Mapping[tuple[str, str, Light], list[RegisterRow]]:
    groups: dict[tuple[str, str, Light], list[RegisterRow]] = {}
    for row in gating:
        if row.light in (Light.FAIL, Light.NOT_EVALUATED):
            groups.setdefault((row.section, row.test_id, row.light), []).append(row)
    return groups


def _condition(section: str, test_id: str, light: Light, spec: ModelSpec, policy: SeverityPolicy) -> Condition | None:
    if test_id in policy.hard and light is Light.FAIL:
        return None
    for limitation in spec.limitations:
        if test_id in limitation.tests and _holds(limitation, decision_date(spec)):
            control = limitation.control.rstrip(".") + "."
            return Condition(test_id, section, light, control, limitation.owner, str(limitation.expires))
    rule: GatingRule | None = spec.policy.gating.get(test_id)
    first = spec.identity.validation_type == "first"
    if light is Light.NOT_EVALUATED and first and rule is not None and rule.conditionable:
        if not named(spec.identity.owner):
            return None
        expires = plus_months(decision_date(spec), policy.condition_months)
        return Condition(test_id, section, light, "Evaluate before the next validation.", spec.identity.owner, expires)
    return None


def _holds(limitation: Limitation, day: str) -> bool:
    """A control counts with a named owner and an expiry that has not passed when the decision is due."""
    return named(limitation.owner) and named(limitation.control) and (limitation.expires or "") >= day


def _subjects(group: Sequence[RegisterRow]) -> str:
    first = group[0].label if group[0].segment == "all" else f"{group[0].label}, {group[0].segment}"
    return first if len(group) == 1 else f"{first} and {len(group) - 1} more"


def _why(
    gating: Sequence[RegisterRow],
    bad: Mapping[tuple[str, str, Light], list[RegisterRow]],
    conditions: Sequence[Condition],
) -> tuple[str, ...]:
    if not gating:
        return ("No test gated, so nothing supports an opinion.",)
    covered = {(c.section, c.test_id, c.light) for c in conditions}
    why = []
    for light, did in ((Light.FAIL, "failed"), (Light.NOT_EVALUATED, "could not be evaluated")):
        tests = [key for key in bad if key[2] is light]
        left = [_test_name(*key[:2]) for key in tests if key not in covered]
        if left:
            # A committee that counts the tests of a list below has to find the number here.
            of_all = "" if len(left) == len(tests) else f" of {len(tests)} that {did}"
            verb = "has no control" if len(left) == 1 else "have no control"
            said = f"{did} and {verb}" if not of_all else verb
            why.append(f"{counted(len(left), 'gating test')}{of_all} {said}: {_listed(left)}.")
    if conditions and len(why) < 2:
        # Which tests a condition covers is said by the condition.
        number = counted(len(conditions), "gating test is", "gating tests are")
        why.append(f"{number} conditioned: a control, its owner and its expiry are named.")
    why.append(f"Of {counted(len(gating), 'gating result')} {_tally(gating)}.")
    return tuple(why)


def _test_name(section: str, test_id: str) -> str:
    """A test as a committee reads it: where it stands, what it is, and its id."""
    known = registered_tests().get(test_id)
    return f"{section} {test_id}" if known is None else f"{section} {known.title} ({test_id})"


def _tally(gating: Sequence[RegisterRow]) -> str:
    """Every result counted once, the bad ones first: '3 failed (1 test), 2 were not evaluated (2 tests), 58 passed'.

    A test may give many results, one per grade or group: the number of tests is what the sentences above count.
    """
    words = (
        (Light.FAIL, "failed", "failed"),
        (Light.NOT_EVALUATED, "was not evaluated", "were not evaluated"),
        (Light.WATCH, "is to watch", "are to watch"),
        (Light.INFORMATION, "had no limit", "had no limit"),
        (Light.PASS, "passed", "passed"),
    )
    told = []
    for light, one, many in words:
        found = [(row.section, row.test_id) for row in gating if row.light is light]
        if found:
            tests = counted(len(set(found)), "test")
            beside = f" ({tests})" if light in (Light.FAIL, Light.NOT_EVALUATED) else ""
            told.append(f"{counted(len(found), one, many)}{beside}")
    return ", ".join(told)


def grouped_conditions(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """One printed line per control, owner and expiry, with the tests that it covers."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for c in conditions:
        groups.setdefault((c.control, c.owner, c.expires), []).append(f"{c.section} {c.test_id} ({c.light.word})")
    return tuple(
        f"{control} Owner {owner}, by {expires}. Covers {', '.join(tests)}."
        for (control, owner, expires), tests in groups.items()
    )


def _listed(items: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
