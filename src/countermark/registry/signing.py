"""Signing with ``ssh-keygen``: the private key stays in its file, agent or hardware token."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Protocol

from countermark.errors import RegistryError
from countermark.registry.sshsig import KEY_TYPE, parse_public, verify


class Signer(Protocol):
    """Signs bytes for a purpose."""

    @property
    def public(self) -> str:
        """The public key, as ``ssh-ed25519 AAAA...``."""

    def sign(self, message: bytes, namespace: str) -> bytes:
        """An armoured SSH signature."""


class KeySigner:
    """Signs with a key file, or with the agent that holds the private half of a public key file.

    Args:
        path: Private key file, or public key file (``.pub``).

    Raises:
        RegistryError: If there is no such key, or it is not of type Ed25519.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.public = parse_public(_public_text(path))[0]

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Sign, and check the signature before it is used.

        Raises:
            RegistryError: If ``ssh-keygen`` cannot sign: no agent, a passphrase it may not ask for, no program.
        """
        command = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(self.path), "-n", namespace]
        try:
            done = subprocess.run(command, input=message, capture_output=True, check=False)
        except FileNotFoundError:
            raise RegistryError("'ssh-keygen' is not installed", hint="install OpenSSH 8.2 or newer") from None
        if done.returncode != 0:
            told = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise RegistryError(
                "the key could not sign",
                got=told[-1][:200] if told else f"ssh-keygen ended with {done.returncode}",
                hint="is the key in the agent (ssh-add -l), or its file readable?",
                file=self.path,
            )
        if verify(message, done.stdout, namespace) != self.public:
            raise RegistryError("another key signed than the one that was asked for", expected=self.public)
        return done.stdout


def _public_text(path: Path) -> str:
    """The public half beside a private key file, or read from it."""
    public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    try:
        if public.is_file():
            return public.read_text(encoding="utf-8")
        if not path.is_file():
            raise RegistryError("there is no such key", expected="a private or public key file", file=path)
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError("the key cannot be read", got=type(error).__name__, file=path) from None
    done = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RegistryError(
            "the public half of the key cannot be read",
            expected=f"'{public.name}' beside it",
            hint=f"ssh-keygen -y -f {path} > {public}; only keys of type {KEY_TYPE} are accepted",
            file=path,
        )
    return done.stdout
