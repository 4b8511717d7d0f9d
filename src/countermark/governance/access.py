"""Opening a bank's registry: which log, which trust root, which key."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from countermark.errors import RegistryError
from countermark.records.clock import Clock, SystemClock
from countermark.registry.directory import LOG, ServingDirectory
from countermark.registry.git import Git
from countermark.registry.repository import Appended, Draft, LogRepository
from countermark.registry.signing import KeySigner, Signer
from countermark.registry.sshsig import KEY_TYPE
from countermark.registry.state import RegistryState

TRUST_ROOT_VARIABLE = "COUNTERMARK_TRUST_ROOT"
TRUST_ROOT_KEY = "countermark.trustRoot"
REMOTE_KEY = "countermark.remote"
RELEASES = "releases"


@dataclass(frozen=True, slots=True)
class BankRegistry:
    """A bank with its log.

    Attributes:
        root: The bank's folder.
        log: Its log.
        clock: The present.
        warnings: What the last look at the remote told.
    """

    root: Path
    log: LogRepository
    clock: Clock
    warnings: tuple[str, ...] = ()

    @property
    def git(self) -> Git:
        """The bank's repository."""
        return self.log.git

    @property
    def now(self) -> datetime:
        """The present."""
        return self.clock.now()

    def state(self) -> RegistryState:
        """The fold of the log, as it is here."""
        return self.log.state(self.now)

    def append(self, signer: Signer, make: Callable[[RegistryState], Draft]) -> Appended:
        """Sign and append one entry; the serving directory of the bank gets the log as it is then.

        Whatever is signed may take something away from production, a revocation above all: it must not wait for the
        next publication. A clone that nothing is served from has no serving directory, and gets none.

        Raises:
            RegistryError: If the entry would have no effect, or the serving directory cannot be written.
        """
        done = self.log.append(signer, make, self.now)
        if self.serves:
            self.directory.write_log(self.log.entries())
        return done

    @property
    def serves(self) -> bool:
        """Whether there is a log in the serving directory of this clone."""
        return (self.root / RELEASES / LOG).is_file()

    @property
    def directory(self) -> ServingDirectory:
        """The serving directory of the bank.

        Raises:
            RegistryError: If no trust root is pinned.
        """
        return ServingDirectory(self.root / RELEASES, self.trust_root)

    @property
    def trust_root(self) -> str:
        """The pinned trust root.

        Raises:
            RegistryError: If there is none.
        """
        if self.log.trust_root is None:
            raise RegistryError(
                "no trust root is pinned", hint=f"countermark governance trust DIGEST, or {TRUST_ROOT_VARIABLE}"
            )
        return self.log.trust_root


def open_registry(
    root: Path, *, trust_root: str | None = None, clock: Clock | None = None, sync: bool = True
) -> BankRegistry:
    """Open the registry of a bank.

    Args:
        root: The bank's folder.
        trust_root: Digest of the genesis; otherwise ``COUNTERMARK_TRUST_ROOT``, otherwise git's configuration.
            Never a file of the bank: whoever can commit could then choose whom to trust.
        clock: The present; the machine's clock by default.
        sync: Take over what others appended, where a remote shares the log.

    Raises:
        RegistryError: If the folder is in no git repository, or the remote's log is not to be trusted.
    """
    git = Git(root)
    if git.resolve("HEAD") is None and git.try_("rev-parse", "--git-dir").code != 0:
        raise RegistryError("this bank is in no git repository", hint="git init", file=root)
    known = clock or SystemClock()
    log = LogRepository(root, pinned_root(git, trust_root), _remote(git))
    warnings = log.sync(known.now()) if sync else ()
    return BankRegistry(root, log, known, warnings)


def pinned_root(git: Git, option: str | None = None) -> str | None:
    """The trust root from option, environment or git's configuration.

    Raises:
        RegistryError: If it is no SHA-256.
    """
    found = option or os.environ.get(TRUST_ROOT_VARIABLE) or git.config(TRUST_ROOT_KEY)
    if found is None:
        return None
    text = found.strip().lower().removeprefix("sha256:")
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise RegistryError("the trust root is no digest", expected="64 hex digits", got=f"'{found[:70]}'")
    return text


def _remote(git: Git) -> str | None:
    """The remote that shares the log: as configured, otherwise ``origin`` where there is one."""
    configured = git.config(REMOTE_KEY)
    if configured is not None:
        return configured or None
    remotes = git.run("remote").decode("utf-8").split()
    return "origin" if "origin" in remotes else None


def signer_of(root: Path, option: Path | None = None) -> Signer:
    """The key to sign with: the option, otherwise git's ``user.signingkey``.

    Args:
        root: The bank's folder.
        option: Private key file, or public key file whose private half is in the agent.

    Raises:
        RegistryError: If there is none, or it cannot be used.
    """
    if option is not None:
        return KeySigner(option)
    git = Git(root)
    configured = git.config("user.signingkey")
    if configured is None:
        raise RegistryError(
            "there is no key to sign with",
            expected="--key FILE, or git config user.signingkey FILE",
            hint=f"make one with: ssh-keygen -t {KEY_TYPE.removeprefix('ssh-')}",
        )
    literal = configured.removeprefix("key::")
    if literal.startswith((KEY_TYPE, "ssh-", "ecdsa-", "sk-")):
        folder = root / git.line("rev-parse", "--git-dir")
        path = folder / "countermark_signing_key.pub"
        path.write_text(literal + "\n", encoding="utf-8")
        return KeySigner(path)
    return KeySigner(Path(configured).expanduser())
