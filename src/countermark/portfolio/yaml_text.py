"""YAML that people will edit: compact, commented, and safe to compose whatever a stranger's names hold."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

_NUMBER = re.compile(r"[-+]?[0-9._]+([eE][-+]?[0-9]+)?")
"""YAML 1.1, which the dumper writes, takes 1e5 for text; composition reads YAML 1.2, where it is a number."""


def yaml_text(document: Mapping[str, Any], title: str, questions: tuple[str, ...] = ()) -> str:
    """YAML of a proposed file: a line a column, text escaped for composition.

    Args:
        document: What the file declares.
        title: First line, a comment.
        questions: Open questions, as comments below the title.
    """
    asked = "".join(
        textwrap.fill(question, 110, initial_indent="# ? ", subsequent_indent="#   ", break_on_hyphens=False) + "\n"
        for question in questions
    )
    body = ""
    for key, value in _escaped(dict(document)).items():
        chunk = yaml.dump({key: value}, Dumper=_Compact, sort_keys=False, width=160, allow_unicode=True)
        if chunk.startswith("{"):
            inner = yaml.dump(value, Dumper=_Compact, sort_keys=False, width=160, allow_unicode=True)
            one_line = " ".join(inner.removesuffix("...\n").split("\n")).strip()
            chunk = f"{key}: {one_line}\n"
        body += chunk
    return f"# {title}\n{asked}{body}"


class _Compact(yaml.SafeDumper):
    """Inner mappings of plain values on one line, so that a contract is a line a column."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escapes for signs that do not print, so that text stays on its line; quotes for words such as 1e5."""
        style = "'" if _NUMBER.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style if data.isprintable() else '"')

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        plain = all(isinstance(v, yaml.ScalarNode) or v.flow_style for _, v in node.value)
        if plain and len(json.dumps(str(mapping))) < 150:
            node.flow_style = True
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        if all(isinstance(v, yaml.ScalarNode) for v in node.value):
            node.flow_style = True
        return node


def _escaped(value: Any) -> Any:
    """Text values with ``${`` escaped: composition would take it for a reference. Keys are not looked at."""
    match value:
        case str():
            return value.replace("${", "\\${")
        case dict():
            return {key: _escaped(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_escaped(inner) for inner in value]
        case _:
            return value


_Compact.add_representer(str, _Compact.represent_str)
