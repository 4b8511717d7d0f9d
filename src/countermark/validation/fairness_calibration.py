"""F3: does the same score mean the same risk in every group?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.calibration import jeffreys_test
from countermark.metrics.fairness import merge_to_expected
from countermark.metrics.intervals import ObservedExpected, observed_over_expected, wilson_interval
from countermark.records.evidence import Block, Figure, Finding, ReferenceLine, RegisterRow, Scalar, Table
from countermark.records.lights import Light
from countermark.records.limits import BandLimit
from countermark.validation.catalogue import severity_policy
from countermark.validation.fairness import air_of, straddles
from countermark.validation.groups import Group, Mask, empty_attribute_rows, groups_of, left_open, without_attributes
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.phrasing import limit_phrase
from countermark.validation.sentences import (
    between,
    columns,
    counted,
    described,
    level,
    printed,
    rounded,
    sentence,
    with_interval,
)
from countermark.validation.series import estimates

SECTION = "F3"
TESTS = {"fair.calibration": "Observed over expected within groups"}
EXPECTED_PER_BLOCK = 5.0
_CURVES = 6
_CELLS = 15


@dataclass(frozen=True, slots=True)
class GroupCalibration:
    """A group, the reference one included, with observed over expected events."""

    attribute: str
    name: str
    member: Mask
    group: Group | None
    ratio: ObservedExpected
    row: RegisterRow

    @property
    def n(self) -> int:
        """Persons."""
        return int(np.count_nonzero(self.member))

    @property
    def label(self) -> str:
        """'sex: women'."""
        return f"{self.attribute}: {self.name}"


class _Member(NamedTuple):
    """A group or the reference group of an attribute, and why it must not be judged."""

    name: str
    rows: Mask
    group: Group | None
    thin: str | None


def group_calibration(inputs: EvidenceInput) -> SectionEvidence:
    """F3: observed over expected events within every group, and by group and merged grades."""
    if inputs.spec.fairness is None:
        return without_attributes(
            inputs, SECTION, TESTS, "Whether the same score means the same risk in every group",
            "The risk that a score stands for may differ between groups, and nobody would see it here.",
        )  # fmt: skip
    found = _calibrations(inputs)
    absent = empty_attribute_rows(inputs, SECTION, TESTS)
    blocks: list[Block] = [_group_table(inputs, found), _grade_table(inputs, found)]
    if any(f.row.statistic is not None for f in found):
        blocks.append(_curves(inputs, found))
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(found, absent),
        would_change=(
            "Observed over expected events of a group outside its limits "
            f"({limit_phrase(inputs.spec.policy.limits['fair.calibration'].text)})."
        ),
        so_what=(
            "Above one, risk of the group is under-estimated; below one it is over-estimated, and people of the group "
            "are declined for risk that they do not carry."
        ),
        rows=(*(f.row for f in found), *absent),
        blocks=tuple(blocks),
        findings=_findings(inputs, found),
        extras={"evaluated": any(f.row.statistic is not None for f in found)},
    )


def _calibrations(inputs: EvidenceInput) -> tuple[GroupCalibration, ...]:
    groups = groups_of(inputs, inputs.test)
    found: list[GroupCalibration] = []
    for attribute in dict.fromkeys(g.attribute for g in groups):
        mine = [g for g in groups if g.attribute == attribute]
        reasons = [_thin(inputs, g.member) for g in mine]
        blocks = all(r is not None for r in reasons)
        reference = mine[0]
        thin = _thin(inputs, reference.reference)
        members = [_Member(reference.reference_name, reference.reference, None, thin)]
        members += [_Member(g.name, g.member, g, reason) for g, reason in zip(mine, reasons, strict=True)]
        found += [_calibration(inputs, attribute, member, blocks=blocks) for member in members]
    return tuple(found)


def _thin(inputs: EvidenceInput, member: Mask) -> str | None:
    n, least = int(np.count_nonzero(member)), inputs.spec.policy.minimum_group
    if n < least:
        return f"the group has {counted(n, 'person', 'persons')}; the policy asks for {least}"
    expected = float(inputs.test.p[member].sum())
    if expected < EXPECTED_PER_BLOCK:
        return f"{printed(expected, 'number')} events are expected in the group; {EXPECTED_PER_BLOCK:g} are needed"
    return None


def _calibration(inputs: EvidenceInput, attribute: str, who: _Member, *, blocks: bool) -> GroupCalibration:
    name, member = who.name, who.rows
    test = inputs.test
    n, events = int(np.count_nonzero(member)), int(np.count_nonzero(member & (test.y == 1)))
    expected = float(np.sort(test.p[member]).sum())
    ratio = observed_over_expected(n, events, expected, confidence=inputs.spec.policy.confidence)
    undefined = who.thin or ratio.reason
    ends, limit = ratio.interval, inputs.spec.policy.limits["fair.calibration"]
    both = ratio.ratio is None or ends is None or straddles(limit, ratio.ratio, ends)
    row = inputs.row(Statistic(
        "fair.calibration", SECTION, f"Observed over expected events of {name}", sample=test.role, n=n, events=events,
        segment=f"{attribute}={name}", value=None if undefined else ratio.ratio,
        interval=None if undefined else ends, judge_interval=both, ci_method="Clopper-Pearson",
        h0="observed = expected",
        alternative="observed > expected (Jeffreys)", p_raw=_jeffreys(n, events, expected), limit="fair.calibration",
        undefined=undefined, gating=None if undefined is None or blocks else False, fmt="ratio",
    ))  # fmt: skip
    return GroupCalibration(attribute, name, member, who.group, ratio, row)


def _jeffreys(n: int, events: int, expected: float) -> float | None:
    return jeffreys_test(n, events, expected / n).p_value if n and 0.0 < expected < n else None


def _merged_grades(inputs: EvidenceInput, member: Mask) -> list[tuple[str, NDArray[np.bool_]]]:
    """Neighbouring grades merged until five events are expected in the group, with their rows."""
    test = inputs.test
    names = test.grade_names
    expected = np.bincount(test.grade[member], weights=test.p[member], minlength=len(names))
    block = merge_to_expected(expected, EXPECTED_PER_BLOCK)
    merged = []
    for k in range(int(block.max()) + 1):
        inside = np.flatnonzero(block == k)
        label = names[inside[0]] if inside.size == 1 else f"{names[inside[0]]} to {names[inside[-1]]}"
        merged.append((label, member & np.isin(test.grade, inside)))
    return merged


def _group_table(inputs: EvidenceInput, found: Sequence[GroupCalibration]) -> Table:
    return Table(
        id="F3-T1",
        caption=f"{_claim(found)}; interval is {level(inputs.spec.policy)} Clopper-Pearson ({described(inputs.test)}).",
        columns=columns(
            ("group", "Group", "text"), ("n", "n", "int"), ("observed", "Observed", "int"),
            ("expected", "Expected", "number"), ("ratio", "O/E", "ratio"), ("interval", "Interval", "text"),
            ("p", "p (Jeffreys)", "pvalue"), ("light", "Light", "light"),
        ),
        rows=tuple(
            {
                "group": f.label if f.group is not None else f"{f.label} (reference)",
                "n": f.n,
                "observed": f.ratio.observed,
                "expected": rounded(f.ratio.expected),
                "ratio": f.row.statistic,
                "interval": between(f.ratio.interval, "ratio") if f.row.statistic is not None else "–",
                "p": f.row.p_raw,
                "light": f.row.light.value,
            }
            for f in found
        ),
        empty="No group can be compared.",
    )  # fmt: skip


def _grade_table(inputs: EvidenceInput, found: Sequence[GroupCalibration]) -> Table:
    """Observed over expected by group and merged grades; no light: gating is on the group as a whole."""
    test, rows = inputs.test, list[dict[str, Scalar]]()
    for f in found:
        if f.row.statistic is None:
            continue
        for label, inside in _merged_grades(inputs, f.member):
            n, events = int(np.count_nonzero(inside)), int(np.count_nonzero(inside & (test.y == 1)))
            ratio = observed_over_expected(
                n, events, float(np.sort(test.p[inside]).sum()), confidence=inputs.spec.policy.confidence
            )
            rows.append(
                {
                    "group": f.label,
                    "grades": label,
                    "n": n,
                    "observed": events,
                    "expected": rounded(ratio.expected),
                    "ratio": rounded(ratio.ratio),
                    "interval": between(ratio.interval, "ratio"),
                }
            )
    above = sum((v := r["ratio"]) is not None and float(v) > 1.0 for r in rows)
    return Table(
        id="F3-T2",
        caption=(
            f"Observed exceeds expected in {above} of {counted(len(rows), 'cell')} of group and grade, by chance "
            f"about half; the {min(len(rows), _CELLS)} farthest from one are printed, grades merged until "
            f"{EXPECTED_PER_BLOCK:g} events are expected ({described(test)})."
        ),
        columns=columns(
            ("group", "Group", "text"), ("grades", "Grades", "text"), ("n", "n", "int"),
            ("observed", "Observed", "int"), ("expected", "Expected", "number"), ("ratio", "O/E", "ratio"),
            ("interval", "Interval", "text"),
        ),
        rows=tuple(sorted(rows, key=_departure)[:_CELLS]),
        total_rows=len(rows),
        empty="No group has enough expected events.",
    )  # fmt: skip


def _departure(row: dict[str, Scalar]) -> tuple[float, str, str]:
    """Farthest from one first, on the log scale."""
    ratio = float(row["ratio"] or 0.0)
    return (-abs(float(np.log(max(ratio, 1e-9)))), str(row["group"]), str(row["grades"]))


def _curves(inputs: EvidenceInput, found: Sequence[GroupCalibration]) -> Figure:
    """Mean probability against observed rate per block of grades, one line per group."""
    test, series = inputs.test, []
    judged = [f for f in found if f.row.statistic is not None]
    shown = sorted(judged, key=lambda f: (-abs(np.log(max(f.row.statistic or 0.0, 1e-9))), f.label))[:_CURVES]
    for f in shown:
        cells = [inside for _, inside in _merged_grades(inputs, f.member)]
        counts = [(int(np.count_nonzero(c)), int(np.count_nonzero(c & (test.y == 1)))) for c in cells]
        rates = [wilson_interval(n, d, confidence=inputs.spec.policy.confidence) for n, d in counts]
        x = [rounded(float(test.p[c].mean())) or 0.0 for c in cells]
        series.append(
            estimates(
                f.label, x, [r.rate for r in rates], [r.interval for r in rates], role="group",
                n=[n for n, _ in counts], mark="line",
            )
        )  # fmt: skip
    return Figure(
        id="F3-F1",
        chart="xy",
        caption=f"{_claim(found)}; bars are {level(inputs.spec.policy)} Wilson intervals ({described(test)}).",
        alt=(
            f"Observed rate against mean probability by merged grades for {counted(len(series), 'group')}, with the "
            "diagonal of perfect calibration. "
            + "; ".join(f"{f.label} observed over expected {printed(f.row.statistic, 'ratio')}" for f in shown)
            + "."
        ),
        x_label="Mean probability",
        y_label="Observed rate",
        x_format="share",
        y_format="share",
        series=tuple(series),
        lines=(ReferenceLine(axis="diagonal", label="calibrated"),),
    )


def _worst(found: Sequence[GroupCalibration]) -> GroupCalibration | None:
    judged = [f for f in found if f.row.statistic is not None]
    return max(judged, key=lambda f: abs(np.log(max(f.row.statistic or 0.0, 1e-9))), default=None)


def _claim(found: Sequence[GroupCalibration]) -> str:
    worst = _worst(found)
    if worst is None:
        return "No group has enough expected events"
    return (
        f"Observed over expected is farthest from one in {worst.label}, "
        f"{with_interval(worst.row.statistic, worst.ratio.interval, 'ratio')}"
    )


def _findings(inputs: EvidenceInput, found: Sequence[GroupCalibration]) -> tuple[Finding, ...]:
    """Risk under-estimated in a group that is also selected less: two disparities that hide one another.

    The group is declined more and yet shows more events than its scores say, so a ratio of outcomes that passes
    is no comfort, and mending one makes the other worse.
    """
    limit = inputs.spec.policy.limits["fair.calibration"]
    if not isinstance(limit, BandLimit):
        return ()
    raised = []
    for f in found:
        if f.group is None or f.row.ci_low is None or f.row.ci_low <= limit.inner[1]:
            continue
        air = air_of(inputs, f.group)
        if air.value is None or air.value >= 1.0:
            continue
        raised.append(
            Finding(
                id="",
                severity=severity_policy().severity(SECTION, f.row.light),
                section=SECTION,
                evidence_id=f"fair.calibration|{f.row.segment}",
                fact=(
                    f"Observed over expected events of {f.label} is {printed(f.row.statistic, 'ratio')} "
                    f"({level(inputs.spec.policy)} interval {between(f.ratio.interval, 'ratio')}, n = "
                    f"{printed(f.n, 'int')}), while its adverse impact ratio is {printed(air.value, 'ratio')}."
                ),
                why=(
                    "Risk of a group that already gets the outcome less often is under-estimated; mending the one "
                    "makes the other worse."
                ),
                recommendation=f"Find which inputs carry the under-estimation for {f.name}, then decide both together.",
                opened=inputs.spec.as_of,
            )
        )
    return tuple(raised)


def _conclusion(found: Sequence[GroupCalibration], absent: Sequence[RegisterRow]) -> str:
    parts = left_open(absent, [f.row.segment for f in found if f.row.statistic is None], "persons or events")
    worst = _worst(found)
    if worst is not None:
        claim = _claim(found)
        told = f"{claim[0].lower()}{claim[1:]}, n = {printed(worst.n, 'int')}"
        # What fails comes before what could not be judged.
        parts.insert(0 if worst.row.light is Light.FAIL else len(parts), told)
    return sentence(parts) if parts else "No group could be compared."
