"""J1 register, J2 policy and formulas, J3 run manifest, J4 data dictionary, J5 glossary, J6 reproduction."""

from __future__ import annotations

from collections.abc import Sequence

from countermark.config.contract import Contract
from countermark.config.semantics import SEMANTICS
from countermark.config.spec import ModelSpec
from countermark.records.evidence import Fact, Facts, Paragraph, RegisterRow, Scalar, Table
from countermark.records.formats import format_estimate, format_value
from countermark.records.lights import Light
from countermark.records.register import registered_tests
from countermark.validation.catalogue import abbreviations, glossary, severity_policy
from countermark.validation.context import PackContext
from countermark.validation.inputs import SectionEvidence
from countermark.validation.phrasing import columns, counted, fact, limit_phrase


def register_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J1: rows that gate, fail, are to watch, and one of every test; all rows and columns are in the attached CSV."""
    del computed
    rows = context.rows
    gating = sum(row.gating for row in rows)
    shown = _printed_rows(rows)
    caption = (
        f"Printed are the {len(shown)} results that gate, fail, are to watch, or are the first of their test (* does "
        "not gate); the attached CSV holds every row and column."
    )
    table = Table(
        id="J1-T1",
        caption=caption,
        columns=columns(
            ("test", "Test, segment", "text"),
            ("sample", "Sample", "text"),
            ("n", "N", "int"),
            ("events", "D", "int"),
            ("value", "Value (interval)", "text"),
            ("p", "p (adjusted)", "text"),
            ("light", "Light", "light"),
        ),
        rows=tuple(_register_line(row) for row in shown),
        total_rows=len(rows),
        empty="No test ran.",
    )
    note = Paragraph(
        text="The limit of each test stands in J2, the reason of each result that is Not evaluated in its section and "
        "in the CSV, with rule, power, method, hypotheses, policy version, data digest and seed."
    )
    conclusion = f"{counted(len(rows), 'test result')}, {gating} gating; {len(shown)} are printed, all are attached."
    return SectionEvidence(code="J1", conclusion=conclusion, blocks=(table, note))


def _printed_rows(rows: Sequence[RegisterRow]) -> tuple[RegisterRow, ...]:
    """Rows that gate, fail or are to watch, and the first row of every test, in the order of the register."""
    seen: set[str] = set()
    shown = []
    for row in rows:
        fresh = row.test_id not in seen
        seen.add(row.test_id)
        if fresh or row.gating or row.light in (Light.FAIL, Light.WATCH):
            shown.append(row)
    return tuple(shown)


def _register_line(row: RegisterRow) -> dict[str, Scalar]:
    statistic = int(row.statistic) if row.format == "int" and row.statistic is not None else row.statistic
    value = format_estimate(statistic, row.ci_low, row.ci_high, row.format)
    p = "–" if row.p_raw is None else format_value(row.p_raw, "pvalue")
    if row.p_adj is not None:
        p += f" ({format_value(row.p_adj, 'pvalue')})"
    where = row.test_id if row.segment == "all" else f"{row.test_id}, {row.segment}"
    return {
        "test_id": row.test_id,
        "test": f"{row.section} {where}{'' if row.gating else ' *'}",
        "sample": row.sample.replace("_", " "),
        "n": row.n,
        "events": row.events,
        "value": value,
        "p": p,
        "light": row.light.value,
    }


def _alternatives(spec: ModelSpec) -> tuple[Fact, ...]:
    """What the level tests of this kind are powered against, and from when an error matters."""
    power, limits = spec.policy.power, spec.policy.materiality
    match spec.kind:
        case "lgd":
            return (
                fact("Alternative, LGD", power.lgd_shift, "points"),
                fact("Material, relative to the estimate", limits.amount_relative, "share"),
                fact("Material, absolute", limits.lgd_absolute, "points"),
            )
        case "ead":
            return (
                fact("Alternative, of the mean estimate", power.ead_relative, "share"),
                fact("Material, relative to the estimate", limits.amount_relative, "share"),
            )
        case _:
            return (
                fact("Alternative, portfolio PD", f"PD × {power.portfolio_pd_multiple:g}"),
                fact("Alternative, grade block PD", f"PD × {power.block_pd_multiple:g}"),
                fact("Material, relative", limits.pd_relative, "share"),
                fact("Material, absolute", limits.pd_absolute, "points"),
            )


def policy_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J2: every limit with its source, the gating table, the formulas."""
    del computed
    policy = context.spec.policy
    severity = severity_policy()
    facts = Facts(
        id="J2-T1",
        caption=f"Validation policy '{policy.name}' {policy.version}, owned by {policy.owner}.",
        facts=(
            fact("Policy", f"{policy.name} {policy.version}"),
            fact("Owner", policy.owner),
            fact("Digest", context.digests.get("policy", "not given"), "hash"),
            fact("Source", policy.source_note),
            fact("Alpha", f"{policy.alpha:g}"),
            fact("Confidence of intervals", policy.confidence, "share"),
            fact("Fewest events", policy.minimum_events, "int"),
            fact("Smallest group", policy.minimum_group, "int"),
            fact("Power at which a pass counts", policy.power.floor, "share"),
            *_alternatives(context.spec),
            fact("Seed", str(policy.seed)),
            fact("Severity policy", f"{severity.version}, {severity.source.removeprefix('[H] ')}"),
        ),
    )
    limits = Table(
        id="J2-T2",
        caption=f"{counted(len(policy.limits), 'limit')}; each is the bank's choice, with its source: [S] a "
        "supervisor's statistic with a limit of the house, [C] custom of the industry, [H] the house alone.",
        columns=columns(("key", "Limit", "text"), ("rule", "Rule", "text"), ("source", "Source", "text")),
        rows=tuple(
            {"key": key, "rule": limit_phrase(lim.text), "source": lim.source}
            for key, lim in sorted(policy.limits.items())
        ),
    )
    used = {row.test_id for row in context.rows}
    formulas = [entry for entry in registered_tests().values() if entry.id in used]
    formula_table = Table(
        id="J2-T4",
        caption=f"Formulas of the {counted(len(formulas), 'test')} of this pack.",
        columns=columns(("id", "Test", "text"), ("title", "Title", "text"), ("formula", "Formula", "text")),
        rows=tuple({"id": entry.id, "title": entry.title, "formula": entry.formula} for entry in formulas),
    )
    return SectionEvidence(
        code="J2",
        conclusion=f"Every light comes from policy '{policy.name}' {policy.version}; no limit is a regulation.",
        blocks=(facts, limits, _gating(context), formula_table),
    )


def _gating(context: PackContext) -> Table:
    gates: list[dict[str, Scalar]] = [
        {
            "test": test_id,
            "when": rule.when.replace("_", " "),
            "gates": "yes" if context.register.gates(test_id) else "no",
            "conditionable": "yes" if rule.conditionable else "no",
        }
        for test_id, rule in sorted(context.spec.policy.gating.items())
    ]
    return Table(
        id="J2-T3",
        caption=f"{sum(row['gates'] == 'yes' for row in gates)} of {counted(len(gates), 'test')} gate this model.",
        columns=columns(
            ("test", "Test", "text"),
            ("when", "Gates when", "text"),
            ("gates", "Gates this model", "text"),
            ("conditionable", "May be conditioned at first validation", "text"),
        ),
        rows=tuple(gates),
    )


def manifest_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J3: semantics versions, library versions, seeds, lock digest."""
    del computed
    spec, semantics = context.spec, context.register.semantics
    rooms = [name for name in sorted(semantics) if name in SEMANTICS]
    libraries = [name for name in sorted(semantics) if name not in SEMANTICS]
    versions = Table(
        id="J3-T1",
        caption=f"What the results depend on: {counted(len(rooms), 'part')} of the framework and "
        f"{counted(len(libraries), 'library', 'libraries')}.",
        columns=columns(("name", "Name", "text"), ("kind", "Kind", "text"), ("version", "Version", "text")),
        rows=tuple(
            {"name": name, "kind": kind, "version": semantics[name]}
            for kind, names in (("framework", rooms), ("library", libraries))
            for name in names
        ),
        empty="No version is recorded.",
    )
    learner_threads = getattr(spec.learner, "threads", None)
    seeds = Facts(
        id="J3-T2",
        caption="Seeds and threads that the results depend on.",
        facts=(
            fact("Split seed", str(spec.split.seed)),
            fact("Policy seed (bootstrap and sampling)", str(spec.policy.seed)),
            fact("Tuning seed", "no tuning" if spec.tuning is None else str(spec.tuning.seed)),
            fact("Threads of the learner", learner_threads if learner_threads is not None else "one", "text"),
            fact("Environment lock", context.digests.get("lock", "not given"), "hash"),
            fact("Semantics", context.digests.get("semantics", "not given"), "hash"),
        ),
    )
    note = Paragraph(
        text="The same lock file on CPython 3.11 and Linux x86-64 gives the same bytes. Elsewhere a rebuild names the "
        "assumption that differs. Wall-clock times stand in a run log outside this pack."
    )
    return SectionEvidence(
        code="J3",
        conclusion=f"{counted(len(semantics), 'version')} and every seed are recorded.",
        blocks=(versions, seeds, note),
    )


def dictionary_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J4: every column that the data contract promises."""
    del computed
    spec = context.spec
    contracts = (spec.contract, *spec.table_contracts.values())
    rows = tuple(row for contract in contracts for row in _dictionary(contract))
    table = Table(
        id="J4-T1",
        caption=f"{counted(len(rows), 'column')} in {counted(len(contracts), 'table')}.",
        columns=columns(
            ("table", "Table", "text"),
            ("column", "Column", "text"),
            ("type", "Type", "text"),
            ("unit", "Unit", "text"),
            ("nullable", "May be missing", "text"),
            ("values", "Values", "text"),
            ("personal", "Personal", "text"),
            ("meaning", "Meaning", "text"),
        ),
        rows=rows,
    )
    return SectionEvidence(code="J4", conclusion=f"{counted(len(rows), 'column')} are under contract.", blocks=(table,))


def _dictionary(contract: Contract) -> tuple[dict[str, Scalar], ...]:
    rows: list[dict[str, Scalar]] = []
    for name, column in contract.columns.items():
        values = None
        if column.allowed is not None:
            shown = ", ".join(str(value) for value in column.allowed[:8])
            values = shown if len(column.allowed) <= 8 else f"{shown} and {len(column.allowed) - 8} more"
        elif column.minimum is not None or column.maximum is not None:
            values = _bounds(column.minimum, column.maximum)
        elif column.pattern is not None:
            values = f"pattern {column.pattern}"
        rows.append(
            {
                "table": contract.table,
                "column": name,
                "type": column.type,
                "unit": column.unit,
                "nullable": "yes" if column.nullable else "no",
                "values": values,
                "personal": "yes" if column.personal else "no",
                "meaning": column.meaning or None,
            }
        )
    return tuple(rows)


def _bounds(low: float | str | None, high: float | str | None) -> str:
    """The range that a contract promises, as it is read: '500 to 40 000', 'at least 1'."""
    texts = [None if end is None else format_value(end, "number") for end in (low, high)]
    if texts[1] is None:
        return f"at least {texts[0]}"
    return f"at most {texts[1]}" if texts[0] is None else f"{texts[0]} to {texts[1]}"


def glossary_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J5: the words of this pack."""
    del computed
    amounts = context.spec.is_amount
    words, shorts = glossary(amounts=amounts), abbreviations(amounts=amounts)
    table = Table(
        id="J5-T1",
        caption="Words of this pack.",
        columns=columns(("term", "Term", "text"), ("meaning", "Meaning", "text")),
        rows=tuple({"term": term, "meaning": meaning} for term, meaning in words.items()),
    )
    short = Table(
        id="J5-T2",
        caption="Abbreviations of this pack.",
        columns=columns(("short", "Abbreviation", "text"), ("meaning", "Meaning", "text")),
        rows=tuple({"short": key, "meaning": value} for key, value in shorts.items()),
    )
    told = f"{counted(len(words), 'term')} and {counted(len(shorts), 'abbreviation')} are explained."
    return SectionEvidence(code="J5", conclusion=told, blocks=(table, short))


def reproduction_command(context: PackContext) -> str:
    """The one line that rebuilds this model."""
    return f"dvc repro models/{context.spec.name}/dvc.yaml"


def reproduction_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J6: the commands that rebuild this pack from raw data."""
    del computed
    name = context.spec.name
    steps = (
        ("Install the locked environment", "pip install --require-hashes -r requirements.lock"),
        ("Compose the specs and check them", "countermark compile --check"),
        ("Rebuild this model from raw data", reproduction_command(context)),
        ("See that nothing changed", f"git status --porcelain models/{name}"),
    )
    table = Table(
        id="J6-T1",
        caption=f"{counted(len(steps), 'command')}, from the root of the repository.",
        columns=columns(("step", "Step", "text"), ("command", "Command", "text")),
        rows=tuple({"step": step, "command": command} for step, command in steps),
    )
    return SectionEvidence(
        code="J6", conclusion=f"{reproduction_command(context)} rebuilds this model and this pack.", blocks=(table,)
    )
