"""docs/reference/sections.md, generated from the registry so that it cannot drift."""

from __future__ import annotations

from countermark.records.register import registered_limits, registered_tests
from countermark.validation.catalogue import questions
from countermark.validation.registry import SECTIONS


def sections_reference() -> str:
    """The reference page: sections, narrative keys, test ids and limits."""
    lines = [
        "# Sections, narrative keys and tests",
        "",
        "Generated from `countermark.validation`; a test compares this file with it.",
        "",
        "## Sections",
        "",
        "A section that this build does not compute prints one line that says which evidence it will hold.",
        "",
        "Kinds `pd`, `fraud`, `aml` and `propensity` predict an event. Kinds `lgd` and `ead` estimate an amount: a",
        "loss as a share of the exposure, a conversion factor, or an exposure in money. Their scorer gives the value",
        "itself, `grades` are pools of it, and they take no calibration, no scorecard and no decision policy; the",
        "sections below hold other evidence where that is said.",
        "",
        "| Section | Title | In this build | Holds |",
        "|---|---|---|---|",
    ]
    for entry in SECTIONS:
        state = "computed" if entry.compute or entry.write else "not computed"
        holds = entry.holds if entry.amounts is None else f"{entry.holds}; for `lgd` and `ead`: {entry.amounts}"
        lines.append(f"| {entry.code} | {entry.title} | {state} | {holds} |")
    lines += [
        "",
        "## Narrative",
        "",
        "`conf/model/NAME.md` answers these questions, each under `## key`. What is not answered is printed as",
        "unanswered.",
        "",
        "| Key | Section | Question |",
        "|---|---|---|",
    ]
    lines += [f"| `{q.key}` | {q.section} | {q.question} |" for q in questions().values()]
    lines += ["", "## Tests", "", "| Test | Section | Title | Formula |", "|---|---|---|---|"]
    lines += [f"| `{t.id}` | {t.section} | {t.title} | {t.formula} |" for t in registered_tests().values()]
    lines += [
        "",
        "## Limits",
        "",
        "A policy (`conf/policy/NAME.yaml`) sets each of these under `limits`, and no other; `compile` tells what is",
        "missing or misspelt. The kind says how the number is judged.",
        "",
        "| Limit | Kind |",
        "|---|---|",
    ]
    for limit in registered_limits().values():
        lines.append(f"| `{limit.id}` | {' or '.join(f'`{kind}`' for kind in limit.kinds)} |")
    return "\n".join(lines) + "\n"
