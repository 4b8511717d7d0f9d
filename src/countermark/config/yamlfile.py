"""YAML files with the line of every key, duplicate keys and executable tricks refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from countermark.errors import ConfigError

KeyPath = tuple[str, ...]

_READ_AS = {
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "seq": "a list",
    "map": "a mapping",
}
_AMBIGUOUS = re.compile(r"^[-+]?(?:0[0-9_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)$")
_RESOLVER = re.compile(r"(?<!\\)\$\{\s*[\w.]+\s*:")


@dataclass(frozen=True, slots=True)
class YamlFile:
    """One parsed file.

    Attributes:
        path: Where it was read from.
        shown: The path as messages show it.
        data: Plain data; an empty file is an empty mapping.
        lines: 1-based line of every key and list item, by path of keys.
    """

    path: Path
    shown: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]


class _Loader(yaml.SafeLoader):
    """SafeLoader that keeps dates as text: a spec has no date objects, only ISO strings."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 reads 1e-6 as text and "on" as true; numbers follow YAML 1.2 here, as in OmegaConf.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)|\.[0-9_]+(?:[eE][-+][0-9]+)?)$"
    ),
    list("-+0123456789."),
)


def parse_plain(text: str) -> Any:
    """YAML text as plain data, numbers read as YAML 1.2 and DVC read them ('1e-09' is one), dates as text."""
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path, shown: str) -> YamlFile:
    """Read one YAML mapping.

    Args:
        path: The file.
        shown: How messages name it, usually relative to the bank's root.

    Raises:
        ConfigError: Unreadable, not UTF-8, not YAML, not a mapping, a duplicate key, a YAML tag, or an
            interpolation that runs a resolver.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", file=shown) from None
    except PermissionError:
        raise ConfigError("no permission to read this file", file=shown, hint="check its mode and owner") from None
    except UnicodeDecodeError as error:
        got = f"byte {error.start} cannot be decoded"
        raise ConfigError("not a UTF-8 text file", got=got, hint="save it as UTF-8", file=shown) from None
    except OSError as error:
        raise ConfigError("this file cannot be read", expected="a file", got=error.strerror, file=shown) from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return YamlFile(path, shown, {}, {})
            if not isinstance(node, yaml.MappingNode):
                raise ConfigError("the file is not a mapping", expected="'key: value' lines", file=shown, line=1)
            lines = dict(_lines(node, (), shown))
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        raise ConfigError(
            "not valid YAML",
            got=getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0],
            hint="check indentation, colons and quotes near this line",
            file=shown,
            line=None if mark is None else mark.line + 1,
        ) from None
    return YamlFile(path, shown, data, lines)


def _refuse_key(key: yaml.Node, shown: str) -> None:
    """A key is text: YAML reads 'no', '1' and '~' as something else, and '<<' would hide where a value was set."""
    line = key.start_mark.line + 1
    if key.tag == "tag:yaml.org,2002:merge":
        raise ConfigError(
            "a merge key ('<<') hides where a value was set",
            expected="keys of its own, or a file of a config group named in 'defaults'",
            got="'<<'",
            file=shown,
            line=line,
        )
    if key.tag.startswith("tag:yaml.org,2002:") and key.tag != "tag:yaml.org,2002:str":
        kind = key.tag.removeprefix("tag:yaml.org,2002:")
        told = str(key.value) if isinstance(key, yaml.ScalarNode) else kind
        raise ConfigError(
            "a key is not text",
            expected="a word, in quotes where YAML would read it as something else",
            got=f"{told}, which YAML reads as {_READ_AS.get(kind, kind)}",
            hint=f"write '{told}' in quotes",
            file=shown,
            line=line,
        )


def _refuse_number(node: yaml.ScalarNode, shown: str) -> None:
    """A number that YAML versions read differently: 012 is 10 to one and 12 to another, 1:30 is 90 or text."""
    if node.style is None and node.tag.endswith((":int", ":float")) and _AMBIGUOUS.match(node.value):
        raise ConfigError(
            f"'{node.value}' is read in different ways",
            expected="a decimal number without leading zeros, or text in quotes",
            got=f"'{node.value}', an octal or sexagesimal number to YAML 1.1",
            hint="write a code or a time in quotes, a number without the zero",
            file=shown,
            line=node.start_mark.line + 1,
        )


def _lines(node: yaml.Node, path: KeyPath, shown: str) -> Iterator[tuple[KeyPath, int]]:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, key_line = str(key.value), key.start_mark.line + 1
            _refuse_key(key, shown)
            if name in seen:
                raise ConfigError(
                    f"key '{name}' is given twice",
                    expected="each key once",
                    got=f"first on line {seen[name]}",
                    file=shown,
                    line=key_line,
                )
            seen[name] = key_line
            yield (*path, name), key_line
            yield from _lines(value, (*path, name), shown)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, str(index)), item.start_mark.line + 1
            yield from _lines(item, (*path, str(index)), shown)
    elif isinstance(node, yaml.ScalarNode) and _RESOLVER.search(node.value):
        raise ConfigError(
            "a value must not call a resolver",
            expected="plain data, or an interpolation of another key such as '${name}'",
            got="'${resolver:...}'",
            hint="secrets are named by environment variable ('url_env'), never read into a spec",
            file=shown,
            line=line,
        )
    if isinstance(node, yaml.ScalarNode):
        _refuse_number(node, shown)
    if node.tag is not None and not node.tag.startswith("tag:yaml.org,2002:"):
        raise ConfigError("YAML tags are refused", expected="plain data", got=f"'{node.tag}'", file=shown, line=line)
