"""J1 register, J2 policy and formulas, J3 run manifest, J4 data dictionary, J5 glossary, J6 reproduction."""

from __future__ import annotations

from countermark.config.contract import Contract
from countermark.records.evidence import Facts, Paragraph, Scalar, Table
from countermark.validation.catalogue import glossary, registered_tests, severity_policy
from countermark.validation.context import PackContext
from countermark.validation.inputs import SectionEvidence
from countermark.validation.phrasing import columns, counted, fact


def register_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """J1: every row of the register; the full 29 columns are in the attached CSV."""
    del computed
    rows = context.rows
    gating = sum(row.gating for row in rows)
    caption = f"{counted(len(rows), 'test result')}, {gating} gating; the attached CSV holds all columns."
    table = Table(
        id="J1-T1",
        caption=caption,
        columns=columns(
            ("test_id", "Test", "text"),
            ("section", "Sec.", "text"),
            ("segment", "Segment", "text"),
            ("sample", "Sample", "text"),
            ("n", "N", "int"),
            ("events", "D", "int"),
            ("statistic", "Statistic", "number"),
            ("ci_low", "Low", "number"),
            ("ci_high", "High", "number"),
            ("p_raw", "p", "pvalue"),
            ("p_adj", "p adj.", "pvalue"),
            ("power", "Power", "share"),
            ("light", "Light", "light"),
            ("threshold", "Limit", "text"),
            ("reason", "Why not evaluated", "text"),
        ),
        rows=tuple(
            {
                "test_id": row.test_id + ("" if row.gating else " (info)"),
                "section": row.section,
                "segment": row.segment,
                "sample": row.sample,
                "n": row.n,
                "events": row.events,
                "statistic": row.statistic,
                "ci_low": row.ci_low,
                "ci_high": row.ci_high,
                "p_raw": row.p_raw,
                "p_adj": row.p_adj,
                "power": row.power,
                "light": row.light.value,
                "threshold": row.threshold,
                "reason": row.n_reason,
            }
            for row in rows
        ),
        empty="No test ran.",
    )
    return SectionEvidence(code="J1", conclusion=caption, blocks=(table,))


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
        rows=tuple({"key": key, "rule": lim.text, "source": lim.source} for key, lim in sorted(policy.limits.items())),
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
    return SectionEvidence(code="J5", conclusion=table.caption, blocks=(table,))


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
