"""SSH signatures (SSHSIG, ``PROTOCOL.sshsig`` of OpenSSH), verified in process.

Signing is left to ``ssh-keygen``, so that private keys stay in files and agents. Only Ed25519 is accepted: one
algorithm, one encoding of a signature, nothing to choose and nothing to downgrade to.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from countermark.errors import RegistryError

LOG_NAMESPACE = "countermark"
"""Namespace of signatures over log entries: a signature made for git or for mail is not one."""
TAG_NAMESPACE = "git"
"""Namespace that ``git verify-tag`` asks for."""
CHECKPOINT_NAMESPACE = "countermark-checkpoint"
"""Namespace of signatures over checkpoints of a ledger."""
ROLLOUT_NAMESPACE = "countermark-rollout"
"""Namespace of signatures over orders to start, stop or reconcile a rollout."""
KEY_TYPE = "ssh-ed25519"
_MAGIC = b"SSHSIG"
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_BREAKS = b"\r\n"
_HASHES = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}


@dataclass(frozen=True, slots=True)
class Signature:
    """A decoded signature.

    Attributes:
        public: The key that signed, as ``ssh-ed25519 AAAA...`` without comment.
        namespace: What the signature was made for.
        hash: Name of the message hash.
        key: 32 bytes of the public key.
        value: 64 bytes of the signature.
    """

    public: str
    namespace: str
    hash: bytes
    key: bytes
    value: bytes


class _Reader:
    """Reads the length-prefixed strings of the SSH wire format; nothing may be left over."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise _damaged(f"{self._what} ends early")
        self._at += count
        return part

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise _damaged(f"{self._what} has bytes left over")


def _damaged(got: str) -> RegistryError:
    return RegistryError("this is no SSH signature", expected="an armoured SSHSIG of version 1", got=got)


def parse_public(text: str) -> tuple[str, bytes]:
    """Read a public key line.

    Args:
        text: ``ssh-ed25519 AAAA... [comment]``.

    Returns:
        The key without its comment, and its 32 bytes.

    Raises:
        RegistryError: If it is no key, or not of type Ed25519.
    """
    parts = text.split()
    if len(parts) < 2:
        raise RegistryError("this is no SSH public key", expected=f"'{KEY_TYPE} AAAA...'", got=f"'{text[:40]}'")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        raise RegistryError("this is no SSH public key", got="text that is not base64") from None
    key = _key_of(blob, parts[0])
    return f"{KEY_TYPE} {base64.b64encode(blob).decode('ascii')}", key


def _key_of(blob: bytes, stated: str | None = None) -> bytes:
    reader = _Reader(blob, "the public key")
    kind = reader.string().decode("ascii", "replace")
    if kind != KEY_TYPE or stated not in (None, KEY_TYPE):
        raise RegistryError(
            f"keys of type '{kind if kind != KEY_TYPE else stated}' are not accepted",
            expected=KEY_TYPE,
            hint="make one with: ssh-keygen -t ed25519",
        )
    key = reader.string()
    reader.end()
    if len(key) != 32:
        raise _damaged("an Ed25519 key that is not 32 bytes long")
    return key


def decode(armoured: bytes) -> Signature:
    """Decode an armoured signature without judging it.

    Raises:
        RegistryError: If it is damaged, of another version, or made with another type of key.
    """
    lines = armoured.strip(_BREAKS).split(b"\n")
    if len(lines) < 3 or lines[0].strip(_BREAKS) != _BEGIN or lines[-1].strip(_BREAKS) != _END:
        raise _damaged("no armour" if armoured.strip() else "no signature at all")
    try:
        joined = b"".join(line.strip(_BREAKS) for line in lines[1:-1])
        blob = base64.b64decode(joined, validate=True)
        if base64.b64encode(blob) != joined:
            raise ValueError("spare bits that say something")
    except (binascii.Error, ValueError):
        raise _damaged("armour that is not base64") from None
    reader = _Reader(blob, "the signature")
    if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != 1:
        raise _damaged("another format or version")
    public = reader.string()
    namespace, reserved, hashed = reader.string(), reader.string(), reader.string()
    inner = _Reader(reader.string(), "the signature")
    reader.end()
    key = _key_of(public)
    if reserved or hashed not in _HASHES:
        raise _damaged("an unknown hash or a reserved field in use")
    kind, value = inner.string(), inner.string()
    inner.end()
    if kind != KEY_TYPE.encode("ascii") or len(value) != 64:
        raise _damaged("a signature that is not Ed25519")
    text = f"{KEY_TYPE} {base64.b64encode(public).decode('ascii')}"
    return Signature(text, namespace.decode("utf-8", "replace"), hashed, key, value)


def signed_bytes(message: bytes, namespace: str, hashed: bytes = b"sha512") -> bytes:
    """What an SSH signature really signs: magic, namespace, reserved, hash name, hash of the message."""
    parts = (namespace.encode("utf-8"), b"", hashed, _HASHES[hashed](message).digest())
    return _MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def verify(message: bytes, armoured: bytes, namespace: str) -> str:
    """Check a signature and name the key that made it. Says nothing about whether that key is trusted.

    Returns:
        The public key, as ``ssh-ed25519 AAAA...``.

    Raises:
        RegistryError: If the signature is damaged, for another purpose, or not of this message.
    """
    found = decode(armoured)
    if found.namespace != namespace:
        raise RegistryError(
            "the signature was made for another purpose",
            expected=f"namespace '{namespace}'",
            got=f"namespace '{found.namespace[:40]}'",
        )
    try:
        Ed25519PublicKey.from_public_bytes(found.key).verify(found.value, signed_bytes(message, namespace, found.hash))
    except (InvalidSignature, ValueError):
        raise RegistryError("the signature is not of these bytes", expected="the bytes that were signed") from None
    return found.public


def armour(public: str, namespace: str, value: bytes) -> bytes:
    """The armoured form of an Ed25519 signature over ``signed_bytes(message, namespace)``.

    Args:
        public: ``ssh-ed25519 AAAA...``.
        namespace: What it was made for.
        value: 64 bytes.
    """
    blob = base64.b64decode(parse_public(public)[0].split()[1])
    inner = b"".join(len(part).to_bytes(4, "big") + part for part in (KEY_TYPE.encode("ascii"), value))
    fields = (blob, namespace.encode("utf-8"), b"", b"sha512", inner)
    wire = _MAGIC + (1).to_bytes(4, "big") + b"".join(len(part).to_bytes(4, "big") + part for part in fields)
    text = base64.b64encode(wire)
    lines = [text[i : i + 70] for i in range(0, len(text), 70)]
    return b"\n".join((_BEGIN, *lines, _END)) + b"\n"
