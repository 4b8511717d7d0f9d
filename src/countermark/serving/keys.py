"""API keys: known by their SHA-256, each with the scopes it was given."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from countermark.errors import ServingError
from countermark.records.decision import Closed

SCOPES = ("decide", "events", "outcomes", "read")
"""``decide`` may be narrowed to one model: ``decide:credit_pd``."""


class ApiKey(Closed, frozen=True, kw_only=True):
    """One key.

    Attributes:
        name: Who uses it.
        sha256: Digest of the key; the key itself is shown once and kept nowhere.
        scopes: What it may do.
    """

    name: str
    sha256: str
    scopes: tuple[str, ...]

    def allows(self, scope: str, model: str | None = None) -> bool:
        """Whether the key has a scope, for all models or for this one."""
        return scope in self.scopes or (model is not None and f"{scope}:{model}" in self.scopes)


class KeyFile(Closed, frozen=True, kw_only=True):
    """``keys.json``."""

    format: str = "countermark/keys/1"
    keys: tuple[ApiKey, ...] = ()


def read_keys(path: Path) -> Mapping[str, ApiKey]:
    """Keys by digest.

    Raises:
        ServingError: If the file is missing or damaged, or grants an unknown scope.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=KeyFile)
    except OSError as error:
        raise ServingError(
            "there is no key file", got=error.strerror, hint="countermark serve-key add NAME --scope decide", file=path
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServingError("the key file is damaged", got=str(error)[:200], file=path) from None
    for key in found.keys:
        check_scopes(key.scopes)
    return {key.sha256: key for key in found.keys}


def check_scopes(scopes: tuple[str, ...]) -> None:
    """Refuse scopes that nothing asks for.

    Raises:
        ServingError: Naming the first one.
    """
    for scope in scopes:
        base, _, model = scope.partition(":")
        if base not in SCOPES or (model and base != "decide"):
            raise ServingError(
                f"there is no scope '{scope}'", expected=", ".join(SCOPES) + " or decide:MODEL", got=f"'{scope}'"
            )


def find_key(keys: Mapping[str, ApiKey], presented: str | None) -> ApiKey | None:
    """The key that was presented. It is hashed before it is looked up: the time taken tells nothing of the keys."""
    if not presented:
        return None
    return keys.get(hashlib.sha256(presented.encode("utf-8")).hexdigest())


def make_key(name: str, scopes: tuple[str, ...]) -> tuple[str, ApiKey]:
    """A new key: its text, to be shown once, and what is kept of it.

    Raises:
        ServingError: If it is a key of nobody, or a scope is unknown.
    """
    if not name.strip() or not name.isprintable():
        raise ServingError("a key is somebody's", expected="the name of who uses it, in one line", got=repr(name[:80]))
    check_scopes(scopes)
    text = f"cmk_{secrets.token_urlsafe(32)}"
    return text, ApiKey(name=name, sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(), scopes=scopes)


def write_keys(path: Path, keys: Mapping[str, ApiKey]) -> None:
    """Write the key file as a whole, readable by its owner alone."""
    document = KeyFile(keys=tuple(sorted(keys.values(), key=lambda key: key.name)))
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    partial.replace(path)
