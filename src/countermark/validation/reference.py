"""docs/reference/sections.md, generated from the registry so that it cannot drift."""

from __future__ import annotations

from countermark.validation.catalogue import questions, registered_tests
from countermark.validation.registry import SECTIONS


def sections_reference() -> str:
    """The reference page: sections, narrative keys and test ids."""
    lines = [
        "# Sections, narrative keys and tests",
        "",
        "Generated from `countermark.validation`; a test compares this file with it.",
        "",
        "## Sections",
        "",
        "A section that this build does not compute prints one line that says which evidence it will hold.",
        "",
        "| Section | Title | In this build | Holds |",
        "|---|---|---|---|",
    ]
    for entry in SECTIONS:
        state = "computed" if entry.compute or entry.write else "not computed"
        lines.append(f"| {entry.code} | {entry.title} | {state} | {entry.holds} |")
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
    return "\n".join(lines) + "\n"
