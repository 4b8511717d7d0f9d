"""Git plumbing: objects in, objects out, refs moved together."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from countermark.errors import RegistryError


@dataclass(frozen=True, slots=True)
class Done:
    """How a git command ended."""

    code: int
    out: bytes
    err: str


class Git:
    """Runs git in one repository.

    Args:
        root: A folder of the repository.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def try_(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> Done:
        """Run a command and say how it ended.

        Raises:
            RegistryError: If git is not installed.
        """
        environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})}
        try:
            done = subprocess.run(
                ["git", *args], cwd=self.root, input=stdin, capture_output=True, check=False, env=environment
            )
        except FileNotFoundError:
            raise RegistryError("'git' is not installed", hint="install git 2.34 or newer") from None
        return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").strip())

    def run(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        """Run a command that has to succeed.

        Raises:
            RegistryError: With the last words of git.
        """
        done = self.try_(*args, stdin=stdin, env=env)
        if done.code != 0:
            raise RegistryError(f"'git {' '.join(args[:2])}' failed", got=done.err[-400:] or f"exit code {done.code}")
        return done.out

    def line(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """The one line that a command prints."""
        return self.run(*args, stdin=stdin, env=env).decode("utf-8").strip()

    def config(self, key: str) -> str | None:
        """A value of git's configuration, or None. Configuration is never part of what is committed."""
        done = self.try_("config", "--get", key)
        return done.out.decode("utf-8").strip() if done.code == 0 else None

    def resolve(self, name: str) -> str | None:
        """The object id that a name stands for, or None."""
        done = self.try_("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        return done.out.decode("ascii").strip() if done.code == 0 else None

    def commit_of(self, name: str) -> str:
        """The commit that a name stands for.

        Raises:
            RegistryError: If it is none.
        """
        found = self.resolve(f"{name}^{{commit}}")
        if found is None:
            raise RegistryError("there is no such commit", got=f"'{name[:60]}'", hint="git commit first")
        return found

    def write(self, kind: str, content: bytes) -> str:
        """Store an object; git refuses one that is not well formed."""
        return self.line("hash-object", "-t", kind, "-w", "--stdin", stdin=content)

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Contents of objects, None for one that is not there; one process for all of them."""
        if not names:
            return []
        out = self.run("cat-file", "--batch", stdin=("\n".join(names) + "\n").encode("utf-8"))
        found: list[bytes | None] = []
        at = 0
        for _ in names:
            end = out.index(b"\n", at)
            header = out[at:end].split(b" ")
            at = end + 1
            if header[-1] in (b"missing", b"ambiguous"):
                found.append(None)
                continue
            size = int(header[-1])
            found.append(out[at : at + size])
            at += size + 1
        return found

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether ``new`` descends from ``old``."""
        return self.try_("merge-base", "--is-ancestor", old, new).code == 0
