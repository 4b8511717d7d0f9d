"""The prose that people write about a model (conf/model/NAME.md), parsed and never invented."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from countermark.errors import ConfigError
from countermark.records.evidence import Narrative
from countermark.validation.catalogue import questions

_HEADING = re.compile(r"^##[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


def parse_narrative(text: str, file: str) -> dict[str, str | None]:
    """Split a narrative file into its answers, one per ``## key``.

    A line that begins with ``?`` before the answer is the open question and is not part of it.
    A section that is missing, empty, or holds nothing but such lines is unanswered.

    Args:
        text: The file's text.
        file: Its name, for messages.

    Returns:
        Every known key with its answer in Markdown, or None where it is unanswered.

    Raises:
        ConfigError: For an unknown or repeated key, and for prose before the first ``## key``.
    """
    known = questions()
    answers: dict[str, str | None] = dict.fromkeys(known)
    seen: dict[str, int] = {}
    key: str | None = None
    lines: list[str] = []
    fence: str | None = None
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        mark = _FENCE.match(line)
        if mark and (fence is None or (mark[1][0] == fence[0] and len(mark[1]) >= len(fence))):
            fence = mark[1] if fence is None else None
        heading = None if fence or mark else _HEADING.match(line)
        if heading is None:
            _refuse_stray(line, key, file, number)
            lines.append(line)
            continue
        if key is not None:
            answers[key] = _answer(lines)
        key = _checked_key(heading[1], seen, file, number)
        lines = []
    if key is not None:
        answers[key] = _answer(lines)
    return answers


def narrative_block(key: str, answers: Mapping[str, str | None]) -> Narrative:
    """The block that prints one answer, or its open question."""
    return Narrative(key=key, question=questions()[key].question, markdown=answers.get(key))


def narrative_template(title: str) -> str:
    """A narrative file with every question open."""
    parts = [f"# {title}\n"]
    parts += [f"## {q.key}\n\n? {q.question}\n" for q in questions().values()]
    return "\n".join(parts)


def _refuse_stray(line: str, key: str | None, file: str, number: int) -> None:
    if key is None and line.strip() and not line.startswith("# "):
        raise ConfigError(
            "text before the first '## key' would not be printed",
            expected="a '# title' line, then sections that begin with '## key'",
            hint="move the text under one of: " + ", ".join(questions()),
            file=file,
            line=number,
        )


def _checked_key(name: str, seen: dict[str, int], file: str, number: int) -> str:
    known = list(questions())
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        raise ConfigError(
            f"unknown narrative section '{name[:40]}'",
            expected="one of: " + ", ".join(known),
            hint=f"did you mean '{near[0]}'?" if near else "use '###' for a heading inside a section",
            file=file,
            line=number,
        )
    if name in seen:
        raise ConfigError(
            f"narrative section '{name}' appears twice",
            expected="every key once",
            got=f"first on line {seen[name]}",
            file=file,
            line=number,
        )
    seen[name] = number
    return name


def _answer(lines: list[str]) -> str | None:
    start = 0
    while start < len(lines) and (not lines[start].strip() or lines[start].lstrip().startswith("?")):
        start += 1
    return "\n".join(lines[start:]).strip() or None
