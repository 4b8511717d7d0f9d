"""A2, page 2: the record that a committee reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from countermark.config.spec import ModelSpec
from countermark.errors import EvidenceError
from countermark.records.evidence import Finding, Format, KeyNumber, RegisterRow, Section, Summary
from countermark.records.formats import format_estimate, format_value
from countermark.records.lights import Light
from countermark.validation.amounts import gap_format, rank_measure
from countermark.validation.appendices import reproduction_command
from countermark.validation.catalogue import SEVERITIES
from countermark.validation.context import PackContext
from countermark.validation.opinion import grouped_conditions
from countermark.validation.phrasing import limit_phrase
from countermark.validation.sentences import sentence
from countermark.validation.signoff import SIGNATURE_STATUS, proposed

_CHANGE_CLASS = {
    "first": "New model: first validation",
    "periodic": "No change: periodic validation",
    "change": "Change of a validated model",
    "trigger": "No change: validation after a trigger",
}


@dataclass(frozen=True, slots=True)
class KeySlot:
    """Where one key number comes from: the first or worst row of a test on the test sample."""

    label: str
    section: str
    tests: tuple[str, ...]
    format: Format
    segment: str = "all"
    worst: Callable[[RegisterRow], float] | None = None


def _statistic(row: RegisterRow) -> float:
    return float("inf") if row.statistic is None else row.statistic


_PD_SLOTS = (
    KeySlot("AUC", "E1", ("disc.auc_delong", "disc.auc"), "auc"),
    KeySlot("Drop in Gini from development", "E1", ("disc.gini_drop",), "auc"),
    KeySlot("KS", "E1", ("disc.ks",), "auc"),
    KeySlot("Observed over expected, portfolio", "E2", ("cal.oe_ratio", "cal.jeffreys"), "ratio"),
    KeySlot("Calibration slope", "E2", ("cal.slope_citl",), "ratio", segment="slope"),
    KeySlot("Brier skill", "E2", ("cal.brier",), "auc", segment="skill"),
    KeySlot("PSI of the score", "E3", ("stab.psi",), "psi"),
    KeySlot("Worst adverse impact ratio", "F1", ("fair.air",), "ratio", worst=_statistic),
)
"""Eight numbers of a model that ranks and prices events; kinds without a slot of their own use them too."""
_AMOUNT_SLOTS = (
    KeySlot("Generalised AUC", "E1", ("disc.somersd_gauc",), "auc"),
    KeySlot("Drop in gAUC from development", "E1", ("disc.gauc_drop",), "points"),
    KeySlot("Loss capture ratio", "E1", ("disc.loss_capture",), "auc"),
    KeySlot("Realised over estimated, portfolio", "E2", ("cal.coverage",), "ratio"),
    KeySlot("t-test p, portfolio", "E2", ("cal.lgd_t", "cal.ccf_t"), "pvalue"),
    KeySlot("Mean absolute error", "E2", ("cal.error",), "number", segment="mae"),
    KeySlot("R2", "E2", ("cal.error",), "auc", segment="r2"),
    KeySlot("PSI of the score", "E3", ("stab.psi",), "psi"),
)
"""Eight numbers of a model that estimates an amount."""


def key_numbers(rows: Sequence[RegisterRow], test_role: str, *, amounts: bool = False) -> tuple[KeyNumber, ...]:
    """The eight key numbers; one that was not computed is printed as Not evaluated with its reason."""
    return tuple(_key_number(slot, rows, test_role) for slot in (_AMOUNT_SLOTS if amounts else _PD_SLOTS))


def _key_number(slot: KeySlot, rows: Sequence[RegisterRow], test_role: str) -> KeyNumber:
    found = [
        row
        for test_id in slot.tests
        for row in rows
        if row.section == slot.section
        and row.test_id == test_id
        and row.sample == test_role
        and (row.segment == slot.segment or slot.worst is not None)
    ]
    if not found:
        return KeyNumber(
            label=slot.label,
            section=slot.section,
            test_id=None,
            value=None,
            format=slot.format,
            light=Light.NOT_EVALUATED,
            note=f"section {slot.section} gives no such number",
        )
    row = found[0] if slot.worst is None else min(found, key=slot.worst)
    return KeyNumber(
        label=slot.label if row.segment == slot.segment else f"{slot.label} ({row.segment})",
        section=slot.section,
        test_id=row.test_id,
        value=row.statistic,
        format=row.format if row.format != "text" else slot.format,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        previous=row.previous_value,
        limit=None if row.threshold is None else limit_phrase(row.threshold, row.format),
        light=row.light,
        note=row.n_reason,
    )


def summarise(context: PackContext, sections: Sequence[Section], *, test_role: str) -> Summary:
    """Fill page 2 from the opinion, the register, the findings and the extras of E1 and E2.

    Args:
        context: The context with findings and opinion.
        sections: Sections with their lights.
        test_role: Role of the sample that gates.
    """
    spec, opinion = context.spec, proposed(context)
    matured = required_extra(context.extras, "C3", "matured_share") if "C3" in context.extras else None
    still_open = [f for f in context.findings if f.status == "open"]
    absent = [s.code for s in sections if s.status == "not_computed"]
    return Summary(
        decision_asked=f"May {spec.name} {spec.version} be used for this decision: {_lowered(spec.purpose.decision)}?",
        decide_by=spec.decide_by,
        opinion=opinion.verdict,
        why=opinion.why[:3],
        conditions=grouped_conditions(opinion.conditions),
        change_class=_CHANGE_CLASS[spec.identity.validation_type],
        strip=strip(context, sections),
        key_numbers=key_numbers(context.rows, test_role, amounts=spec.is_amount),
        gain_over_simple=_gain(context.rows, test_role, {s.code: s.light for s in sections}),
        worst_segment=_worst_segment(context.extras, rank_measure(spec)),
        smallest_detectable=smallest_shortfall(context.extras, spec)
        if spec.is_amount
        else smallest_detectable(context.extras),
        not_evaluated=_not_evaluated(context.rows),
        not_computed=tuple(absent),
        as_of=spec.as_of,
        matured_share=_maturity(matured),
        restrictions=tuple(f"Not for: {use}" for use in spec.purpose.prohibited),
        findings_count={s: sum(f.severity == s for f in still_open) for s in SEVERITIES},
        top_findings=tuple(_finding_line(f) for f in still_open[:5]),
        reproduce=reproduction_command(context),
        signature_status=SIGNATURE_STATUS,
    )


def strip(context: PackContext, sections: Sequence[Section]) -> tuple[tuple[str, str, Light], ...]:
    """Every section with at least one gating row, in order: code, short title, light."""
    gating = {row.section for row in context.rows if row.gating}
    short = context.short_titles
    return tuple((s.code, short.get(s.code, s.title), s.light) for s in sections if s.code in gating)


def _not_evaluated(rows: Sequence[RegisterRow]) -> tuple[str, ...]:
    """Gating tests Not evaluated, one line per section and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.gating and row.light is Light.NOT_EVALUATED:
            tests = groups.setdefault((row.section, str(row.n_reason)), [])
            if row.test_id not in tests:
                tests.append(row.test_id)
    return tuple(f"{section} {', '.join(tests)}: {reason}" for (section, reason), tests in groups.items())


def _maturity(matured: float | None) -> str:
    if matured is None:
        return "Not evaluated: whether labels are final cannot be judged (C3)."
    return f"{format_value(matured, 'share')} of labels are mature (C3)."


def _finding_line(finding: Finding) -> str:
    return f"{finding.id} ({finding.severity}): {finding.fact}"


def _lowered(text: str) -> str:
    """A sentence as the end of another one."""
    return f"{text[:1].lower()}{text[1:]}".rstrip(".?")


def _gain(rows: Sequence[RegisterRow], test_role: str, lights: Mapping[str, Light]) -> str:
    """The gain with the light of its section, which may be worse than that of the gain alone."""
    gains = ("bench.gain", "bench.error_gain")
    row = next((r for r in rows if r.test_id in gains and r.sample in (test_role, "none")), None)
    if row is None:
        return "Not evaluated: no comparison with a simple challenger was computed."
    gain = row.statistic
    if gain is None:
        return f"Not evaluated: {row.n_reason or 'the gain is undefined'}."
    if row.test_id == "bench.error_gain":
        saved = format_estimate(gain, row.ci_low, row.ci_high, "share")
        told = f"{saved} of the simple challenger's squared error saved"
    else:
        told = f"AUC gain {format_estimate(gain, row.ci_low, row.ci_high, 'auc')} over the simple challenger"
    light = lights.get("E5", row.light)
    alone = "" if light is row.light else f", the gain alone {row.light.word}"
    return f"{told}; E5 is {light.word}{alone}."


def _worst_segment(extras: Mapping[str, Mapping[str, Any]], measure: str) -> str:
    """The segment with the lowest AUC (gAUC) on the test sample among those with enough events (rows), from E1."""
    if "E1" not in extras:
        return "Not evaluated: ranking by segment was not computed."
    worst = required_extra(extras, "E1", "worst_segment")
    if worst is None:
        return f"Not evaluated: no segment has enough {'events' if measure == 'AUC' else 'rows'}."
    told = format_estimate(worst["value"], worst["low"], worst["high"], "auc")
    return f"{worst['name']}: {measure} {told}, n = {format_value(worst['n'], 'int')} (E1)."


def smallest_detectable(extras: Mapping[str, Mapping[str, Any]]) -> str:
    """The smallest deterioration that E1 and E2 could have detected, in words.

    Raises:
        EvidenceError: If a computed section lacks the extra that page 2 needs.
    """

    def told(multiple: float | None) -> str:
        if multiple is None:
            return "no rise of the default rate can be named"
        return f"a default rate {format_value(multiple, 'ratio')} times the predicted one"

    return _smallest(extras, "AUC", "smallest_detectable_pd_multiple", told)


def smallest_shortfall(extras: Mapping[str, Mapping[str, Any]], spec: ModelSpec) -> str:
    """The smallest deterioration of an estimated amount that E1 and E2 could have detected, in words.

    Raises:
        EvidenceError: If a computed section lacks the extra that page 2 needs.
    """

    def told(short: float | None) -> str:
        if short is None:
            return "no under-estimation can be named"
        return f"a mean under-estimation of {format_value(short, gap_format(spec))}"

    return _smallest(extras, "gAUC", "smallest_detectable_shortfall", told)


def _smallest(
    extras: Mapping[str, Mapping[str, Any]], measure: str, of_level: str, told: Callable[[float | None], str]
) -> str:
    """Both deteriorations in one sentence: of ranking by its measure, of the level by its extra and its words."""
    parts = []
    if "E1" in extras:
        drop = required_extra(extras, "E1", f"smallest_detectable_{measure.lower()}_drop")
        power = required_extra(extras, "E1", "smallest_detectable_power")
        fall = f"no fall in {measure} can be named"
        if drop is not None:
            fall = f"a fall in {measure} of {format_value(drop, 'auc')}"
        parts.append(f"{fall} (power {100 * power:g} %, E1)")
    if "E2" in extras:
        parts.append(f"{told(required_extra(extras, 'E2', of_level))} (E2)")
    return sentence(parts) if parts else "Not evaluated: neither E1 nor E2 was computed."


def required_extra(extras: Mapping[str, Mapping[str, Any]], section: str, key: str) -> Any:
    """An extra that another section promised.

    Raises:
        EvidenceError: If it is missing.
    """
    if key not in extras[section]:
        raise EvidenceError(
            f"section {section} does not say '{key}'",
            expected=f"'{key}' among the extras of section {section}",
            got=", ".join(sorted(extras[section])) or "no extras",
            hint=f"page 2 prints it; return it from the function of section {section}",
        )
    return extras[section][key]
