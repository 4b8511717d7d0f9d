"""The governance file that people write: who may do what, with which keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from countermark.errors import RegistryError
from countermark.registry.bodies import GovernanceBody, read_body
from countermark.registry.sshsig import parse_public
from countermark.registry.trust import check_governance

_EXAMPLE = """\
principals:
  dana:  {person: Dana Developer, roles: [developer], keys: [{file: keys/dana.pub, expires: YEAR}]}
  vera:  {person: Vera Validator, roles: [validator], keys: [{file: keys/vera.pub, expires: YEAR}]}
  rik:   {person: Rik Risk, roles: [risk], keys: [{file: keys/rik.pub, expires: YEAR}]}
  eli:   {person: Eli Engineer, roles: [engineer], keys: [{file: keys/eli.pub, expires: YEAR}]}
quorum: {1: [validator, risk], 2: [validator], 3: [validator]}
amendment_quorum: 2
conflicts: []
longest_approval_days: 730
"""


def example(today: date) -> str:
    """A governance file to start from, with keys that lapse at the end of next year."""
    return _EXAMPLE.replace("YEAR", date(today.year + 1, 12, 31).isoformat())


_KEYS = {"principals", "quorum", "amendment_quorum", "conflicts", "longest_approval_days"}


def read_charter(path: Path, version: int) -> GovernanceBody:
    """Read a governance file.

    Args:
        path: YAML; key files are relative to it.
        version: Number of the governance state that it becomes.

    Raises:
        RegistryError: If it cannot be read, or could not keep its promises.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegistryError("the governance file cannot be read", got=error.strerror, file=path) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RegistryError("the governance file is not YAML", got=str(error)[:200], file=path) from None
    if not isinstance(document, dict) or not isinstance(document.get("principals"), dict) or set(document) - _KEYS:
        raise RegistryError(
            "this is no governance file",
            expected=", ".join(sorted(_KEYS)) + ", as 'countermark governance init --example' prints it",
            file=path,
        )
    made = {
        "version": version,
        "principals": [
            {**_mapping(fields, name, path), "principal": str(name), "keys": _keys(fields, name, path)}
            for name, fields in document["principals"].items()
        ],
        "quorum": {str(tier): roles for tier, roles in (document.get("quorum") or {}).items()},
        "amendment_quorum": document.get("amendment_quorum"),
        "conflicts": document.get("conflicts") or [],
        "longest_approval_days": document.get("longest_approval_days"),
    }
    try:
        body = read_body(made, GovernanceBody)
        check_governance(body)
    except RegistryError as wrong:
        raise RegistryError(wrong.what, expected=wrong.expected, got=wrong.got, hint=wrong.hint, file=path) from None
    return body


def _mapping(fields: Any, name: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(fields, dict):
        raise RegistryError(f"principal '{name}' is not complete", expected="person, roles and keys", file=path)
    return fields


def _keys(fields: Any, name: Any, path: Path) -> list[dict[str, Any]]:
    listed = _mapping(fields, name, path).get("keys")
    if not isinstance(listed, list):
        raise RegistryError(f"principal '{name}' has no list of keys", expected="keys: [FILE.pub, ...]", file=path)
    return [_key(entry, path) for entry in listed]


def _key(entry: Any, path: Path) -> dict[str, Any]:
    known = {"file": entry} if isinstance(entry, str) else entry
    if (
        not isinstance(known, dict)
        or set(known) - {"file", "public", "expires"}
        or ("file" in known) == ("public" in known)
    ):
        raise RegistryError(
            "this is no key", expected="FILE.pub, or {file: FILE.pub, expires: DATE}, or {public: ..., expires: DATE}",
            file=path,
        )  # fmt: skip
    text = known.get("public")
    if text is None:
        file = path.parent / str(known["file"])
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError("the key file cannot be read", got=type(error).__name__, file=file) from None
    return {"public": parse_public(str(text))[0], "expires": _date(known.get("expires"))}


def _date(value: Any) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.isoformat() if isinstance(value, date) else None if value is None else str(value)
