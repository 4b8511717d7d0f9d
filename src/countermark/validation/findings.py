"""I2 findings log: drawn up from red and amber gating rows, severity by policy, sorted by severity then age."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence

from countermark.config.spec import ModelSpec
from countermark.errors import EvidenceError
from countermark.records.evidence import Finding, Paragraph, RegisterRow, Table
from countermark.records.formats import format_estimate, format_value
from countermark.records.lights import Light
from countermark.records.register import registered_tests
from countermark.validation.catalogue import SEVERITIES, advice, severity_policy
from countermark.validation.context import PackContext
from countermark.validation.inputs import SectionEvidence, Statistic
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted, decision_date, limit_phrase, named, plus_months

_ACTIONABLE = frozenset({Light.FAIL, Light.WATCH, Light.NOT_EVALUATED})
_ORDER = (Light.FAIL, Light.WATCH, Light.NOT_EVALUATED, Light.PASS, Light.INFORMATION)
_SAMPLES = {"out_of_time": "out-of-time", "holdout": "hold-out"}
_WHY = {
    "A": "A document that cannot be tied to files cannot be relied on.",
    "B": "Use, scope or ownership is open, so nobody can be held to it.",
    "C": "What is built on this data inherits the fault.",
    "D": "The model may rest on information it will not have, or must not use.",
    "E": "The score or its level may mislead the decision it supports.",
    "F": "People may be treated differently without a reason that stands.",
    "G": "The explanation given for a score may not be the true one.",
    "H": "The model in use may not be the model that was tested.",
    "I": "Nobody can weigh what has no size, owner or date.",
    "J": "The record is incomplete.",
}


def draw_up(
    rows: Sequence[RegisterRow],
    raised: Sequence[Finding],
    spec: ModelSpec,
    previous: Sequence[Finding] = (),
) -> tuple[Finding, ...]:
    """All findings: raised by sections, generated from gating Fail and Watch rows, and carried forward.

    A gating test gets one finding per section, at its worst light, unless the section raised one for it.
    Severity is policy where the finding's evidence is a test of the register. Ids are ``F-SECTION-NN``: a carried
    finding keeps its id, others are numbered after it in the order of the register.

    Raises:
        EvidenceError: If two findings carry one id.
    """
    lights = {**_light_behind(rows, gating=False), **_light_behind(rows, gating=True)}
    found = [_graded(finding, lights, spec) for finding in raised]
    spoken = {(f.section, _test_of(f)) for f in found}
    for (section, test_id), light in _light_behind(rows, gating=True).items():
        if light in (Light.FAIL, Light.WATCH) and (section, test_id) not in spoken:
            group = [r for r in rows if r.gating and (r.section, r.test_id, r.light) == (section, test_id, light)]
            found.append(_generated(group, light, spec))
    numbered = _numbered(found, previous)
    ids = [f.id for f in numbered]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise EvidenceError("two findings carry one id", expected="unique finding ids", got=", ".join(twice))
    return tuple(sorted(numbered, key=lambda f: (f.status != "open", SEVERITIES.index(f.severity), f.opened, f.id)))


def _light_behind(rows: Sequence[RegisterRow], *, gating: bool) -> Mapping[tuple[str, str], Light]:
    """The light of each test of a section: Fail before Watch before Not evaluated, so that none hides another."""
    groups: dict[tuple[str, str], set[Light]] = {}
    for row in rows:
        if row.gating or not gating:
            groups.setdefault((row.section, row.test_id), set()).add(row.light)
    return {key: next(light for light in _ORDER if light in lights) for key, lights in groups.items()}


def _test_of(finding: Finding) -> str:
    """The test id that a finding's evidence names; evidence ids may carry a suffix, as in ``fair.air|sex``."""
    known = registered_tests()
    name = finding.evidence_id
    if name in known:
        return name
    return next((t for t in sorted(known, key=len, reverse=True) if name.startswith(t)), name)


def _graded(finding: Finding, lights: Mapping[tuple[str, str], Light], spec: ModelSpec) -> Finding:
    light = lights.get((finding.section, _test_of(finding)))
    policy = severity_policy()
    severity = finding.severity
    if light is not None and light in _ACTIONABLE:
        severity = policy.severity(finding.section, light)
    months = policy.months.get(severity)
    due = finding.due or (None if months is None else plus_months(decision_date(spec), months))
    owner = finding.owner or (spec.identity.owner if named(spec.identity.owner) else None)
    return finding.model_copy(update={"severity": severity, "due": due, "owner": owner})


def _generated(group: Sequence[RegisterRow], light: Light, spec: ModelSpec) -> Finding:
    row = max(group, key=_badness)
    severity = severity_policy().severity(row.section, light)
    months = severity_policy().months.get(severity)
    subject = row.label if row.segment == "all" or row.segment in row.label else f"{row.label} ({row.segment})"
    more = "" if len(group) == 1 else f" {counted(len(group) - 1, 'more result has', 'more results have')} this light."
    told = advice().get(row.test_id)
    remedy = "Mend the cause and compute again."
    if light is not Light.FAIL:
        remedy = "Explain it or tighten monitoring before use."
    value = ""
    if row.statistic is not None:
        value = f": {format_estimate(_for_format(row), row.ci_low, row.ci_high, row.format)}"
    limit = "" if row.threshold is None else f"; limit {limit_phrase(row.threshold, row.format)}"
    where = f"{_SAMPLES.get(row.sample, row.sample.replace('_', ' '))}, N = {format_value(row.n, 'int')}{limit}"
    fact = f"{subject[0].upper()}{subject[1:]}{value} ({where}).{more}"
    return Finding(
        id="",
        severity=severity,
        section=row.section,
        evidence_id=row.test_id,
        fact=fact,
        why=_WHY[row.section[0]] if told is None else told.why,
        recommendation=remedy if told is None else told.do,
        owner=spec.identity.owner if named(spec.identity.owner) else None,
        due=None if months is None else plus_months(decision_date(spec), months),
        opened=spec.as_of,
    )


def _badness(row: RegisterRow) -> float:
    """How far a row lies on the bad side of its limit, to name the worst of several rows of one test."""
    threshold, value = row.threshold or "", row.statistic
    p_value = row.p_raw if row.p_adj is None else row.p_adj
    if threshold.startswith("p ") and p_value is not None:
        return -p_value
    if value is None:
        return float("-inf")
    if threshold.startswith(("≥", ">")):
        return -value
    if threshold.startswith(("≤", "<")):
        return value
    return abs(math.log(value)) if value > 0 else abs(value)


def _for_format(row: RegisterRow) -> float | int | None:
    return int(row.statistic) if row.format == "int" and row.statistic is not None else row.statistic


def _numbered(found: Sequence[Finding], previous: Sequence[Finding]) -> list[Finding]:
    """Carry open findings forward under their old id, then number the rest after the highest used."""
    used: dict[str, int] = {}
    for finding in previous:
        used[finding.section] = max(used.get(finding.section, 0), _number(finding.id))
    for finding in found:
        used[finding.section] = max(used.get(finding.section, 0), _number(finding.id))
    before = {(f.section, f.evidence_id): f for f in previous if f.status == "open"}
    numbered = []
    for finding in found:
        old = before.pop((finding.section, finding.evidence_id), None)
        if old is not None:
            numbered.append(finding.model_copy(update={"id": old.id, "opened": old.opened, "due": old.due}))
        elif finding.id:
            numbered.append(finding)
        else:
            used[finding.section] = used.get(finding.section, 0) + 1
            numbered.append(finding.model_copy(update={"id": f"F-{finding.section}-{used[finding.section]:02d}"}))
    return [*numbered, *before.values(), *(f for f in previous if f.status == "closed")]


def _number(finding_id: str) -> int:
    tail = finding_id.rsplit("-", 1)[-1]
    return int(tail) if tail.isdigit() else 0


def overdue(findings: Sequence[Finding], as_of: str) -> tuple[Finding, ...]:
    """Open Critical and High findings from before the as-of date whose due date has passed."""
    return tuple(
        f
        for f in findings
        if f.status == "open" and f.severity in ("critical", "high") and f.opened < as_of and (f.due or as_of) < as_of
    )


def findings_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """I2: the findings log with the inputs of each severity, and whether anything is overdue."""
    del computed
    spec, findings = context.spec, context.findings
    carried = [f for f in findings if f.opened < spec.as_of]
    late = overdue(findings, spec.as_of)
    row = context.register.row(
        Statistic(
            "finding.overdue",
            "I2",
            "overdue critical or high findings",
            sample="pack",
            n=len(carried),
            value=float(len(late)),
            # Without a finding from an earlier pack nothing could be overdue: information, not a pass.
            limit="finding.overdue" if carried else None,
            fmt="int",
        )
    )
    counts = {s: sum(f.severity == s and f.status == "open" for f in findings) for s in SEVERITIES}
    told = ", ".join(f"{n} {s}" for s, n in counts.items() if n) or "none"
    policy = severity_policy()
    ageing = Table(
        id="I2-T2",
        caption=f"Ageing at {spec.as_of}: {_overdue_phrase(len(late))}.",
        columns=columns(("severity", "Severity", "text"), ("open", "Open", "int"), ("oldest", "Oldest, days", "int")),
        rows=tuple({"severity": s, "open": n, "oldest": _oldest(findings, s, spec.as_of)} for s, n in counts.items()),
    )
    bands = ", ".join(f"{s} from {policy.bands[s]}" for s in SEVERITIES)
    note = Paragraph(
        text=f"Severity is impact × likelihood × detectability, each 1 to 3 (severity policy {policy.version}, "
        f"{policy.source.removeprefix('[H] ')}): {bands}. Impact and detectability go by section, likelihood by light."
    )
    return SectionEvidence(
        code="I2",
        conclusion=f"Open findings: {told}; {_overdue_phrase(len(late))}.",
        would_change="Closing a finding with evidence, or a due date that passes.",
        rows=(row,),
        blocks=(narrative_block("responses", context.answers), _log(context, told), ageing, note),
    )


def _overdue_phrase(late: int) -> str:
    return f"{counted(late, 'finding is', 'findings are')} overdue" if late else "no finding is overdue"


def _log(context: PackContext, told: str) -> Table:
    return Table(
        id="I2-T1",
        caption=f"Open findings: {told}; sorted by severity, then age; in brackets impact × likelihood × "
        "detectability.",
        columns=columns(
            ("id", "Id, evidence", "text"),
            ("severity", "Severity", "text"),
            ("fact", "Finding, and why it matters", "text"),
            ("recommendation", "Recommendation, management response", "text"),
            ("owner", "Owner, due, status", "text"),
        ),
        rows=tuple(
            {
                "id": f"{f.id}, {f.evidence_id} ({severity_inputs(f, context.rows)})",
                "severity": f.severity,
                "fact": f"{f.fact} {f.why}",
                "recommendation": f"{f.recommendation} Response: none recorded.",
                "owner": f"{f.owner or 'no owner'}, due {f.due or 'no date'}, {f.status}, opened {f.opened}",
            }
            for f in context.findings
        ),
        empty="No finding is open and none was carried forward.",
    )


def severity_inputs(finding: Finding, rows: Sequence[RegisterRow]) -> str:
    """'3 × 3 × 2 = 18': how the severity came about; a judgement where no test stands behind the finding."""
    test_id = _test_of(finding)
    key = (finding.section, test_id)
    light = _light_behind(rows, gating=True).get(key) or _light_behind(rows, gating=False).get(key)
    if light is None or light not in _ACTIONABLE:
        return "judgement of the section"
    impact, likelihood, detectability = severity_policy().inputs(finding.section, light)
    return f"{impact} × {likelihood} × {detectability} = {impact * likelihood * detectability}"


def _oldest(findings: Sequence[Finding], severity: str, as_of: str) -> int | None:
    opened = [f.opened for f in findings if f.severity == severity and f.status == "open"]
    if not opened:
        return None
    return (dt.date.fromisoformat(as_of) - dt.date.fromisoformat(min(opened))).days
