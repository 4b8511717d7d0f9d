"""J1 register, J2 policy and formulas, J3 run manifest, J4 data dictionary, J5 glossary, J6 reproduction."""

from __future__ import annotations

from collections.abc import Sequence

from countermark.config.contract import Contract
from countermark.records.evidence import Facts, Paragraph, RegisterRow, Scalar, Table
from countermark.records.formats import format_interval, format_value
from countermark.records.lights import Light
from countermark.validation.catalogue import abbreviations, glossary, registered_tests, severity_policy
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
        f"{counted(len(rows), 'test result')}, {gating} gating; printed are the {len(shown)} that gate, fail, are to "
        "watch, or are the first of their test (* does not gate). The attached CSV holds every row and column."
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
    value = "–"
    if row.statistic is not None:
        value = format_value(int(row.statistic) if row.format == "int" else row.statistic, row.format)
    if row.ci_low is not None or row.ci_high is not None:
        value += f" ({format_interval(row.ci_low, row.ci_high, row.format)})"
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
            fact("Alpha", policy.alpha, "number"),
            fact("Confidence of intervals", policy.confidence, "share"),
            fact("Fewest events", policy.minimum_events, "int"),
            fact("Smallest group", policy.minimum_group, "int"),
            fact("Power at which a pass counts", policy.power.floor, "share"),
            fact("Alternative, portfolio PD", f"x {policy.power.portfolio_pd_multiple:g}"),
            fact("Alternative, grade block PD", f"x {policy.power.block_pd_multiple:g}"),
            fact("Material, relative", policy.materiality.pd_relative, "share"),
            fact("Material, absolute", policy.materiality.pd_absolute, "share"),
            fact("Seed", policy.seed, "int"),
            fact("Severity policy", f"{severity.version}, {severity.source}"),
        ),
    )
    limits = Table(
        id="J2-T2",
        caption=f"{counted(len(policy.limits), 'limit')}; each is the bank's choice, with its source.",
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
    versions = Table(
        id="J3-T1",
        caption=f"{counted(len(semantics), 'declared version')} of rooms and numeric libraries.",
        columns=columns(("name", "Room or library", "text"), ("version", "Version", "text")),
        rows=tuple({"name": name, "version": version} for name, version in sorted(semantics.items())),
        empty="No version is recorded.",
    )
    learner_threads = getattr(spec.learner, "threads", None)
    seeds = Facts(
        id="J3-T2",
        caption="Seeds and threads that the results depend on.",
        facts=(
            fact("Split seed", spec.split.seed, "int"),
            fact("Policy seed (bootstrap and sampling)", spec.policy.seed, "int"),
            fact("Tuning seed", "no tuning" if spec.tuning is None else spec.tuning.seed, "text"),
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
            low = "any" if column.minimum is None else column.minimum
            high = "any" if column.maximum is None else column.maximum
            values = f"{low} to {high}"
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


def glossary_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J5: the words of this pack."""
    del computed, context
    words = glossary()
    table = Table(
        id="J5-T1",
        caption=f"{counted(len(words), 'term')} used in this pack.",
        columns=columns(("term", "Term", "text"), ("meaning", "Meaning", "text")),
        rows=tuple({"term": term, "meaning": meaning} for term, meaning in words.items()),
    )
    short = Table(
        id="J5-T2",
        caption=f"{counted(len(abbreviations()), 'abbreviation')} used in this pack.",
        columns=columns(("short", "Abbreviation", "text"), ("meaning", "Meaning", "text")),
        rows=tuple({"short": key, "meaning": value} for key, value in abbreviations().items()),
    )
    return SectionEvidence(code="J5", conclusion=table.caption, blocks=(table, short))


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
