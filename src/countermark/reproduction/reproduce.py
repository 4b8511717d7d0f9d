"""A release again from its commit: a clone in an empty folder, an empty cache, its own versions, and a comparison."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from countermark.errors import ReplayError
from countermark.records.digest import file_digest
from countermark.registry.git import Git
from countermark.registry.standing import ReleaseState
from countermark.report.reading import read_pack
from countermark.validation.sealing import wrong_digests

Environment = Literal["same", "venv"]
BINDING = ("results", "evidence", "scorer", "decision")
"""Digests that approvals bind: each must come out again."""
_LOCK, _REQUIREMENTS, _PROJECT = "requirements.lock", "requirements.txt", "pyproject.toml"
_PIP = ("--quiet", "--no-compile", "--disable-pip-version-check")
_BACKEND = re.compile(r"^hatchling==", re.MULTILINE)
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """One digest, as it was proposed and as it came out.

    Attributes:
        name: Name of the digest, or path of a file.
        proposed: As the proposal says.
        rebuilt: As the rebuild made it; None where it made none.
        binding: Whether approvals bind it.
    """

    name: str
    proposed: str
    rebuilt: str | None
    binding: bool

    @property
    def same(self) -> bool:
        """Whether it came out again."""
        return self.proposed == self.rebuilt


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What a reproduction found.

    Attributes:
        ref: The release.
        commit: Commit that was rebuilt.
        python: Interpreter that ran it.
        lock: SHA-256 of the commit's ``requirements.lock``, or None.
        assumptions: What differs between that version's environment and the one that ran.
        changed: Files of the commit that the rebuild changed.
        compared: Digests and files.
        folder: Where it was rebuilt.
    """

    ref: str
    commit: str
    python: str
    lock: str | None
    assumptions: tuple[str, ...]
    changed: tuple[str, ...]
    compared: tuple[Compared, ...]
    folder: Path

    @property
    def identical(self) -> bool:
        """Whether every digest that approvals bind came out again."""
        return all(one.same for one in self.compared if one.binding)


def reproduce(
    root: Path, release: ReleaseState, folder: Path, *, environment: Environment = "same", tell: Tell = print
) -> Reproduced:
    """Rebuild a release.

    Args:
        root: The bank's folder.
        release: The release, from the log.
        folder: Empty or new folder for the clone.
        environment: ``same`` runs this interpreter; ``venv`` installs what the commit's lock file names first.
        tell: Told what happens.

    Raises:
        ReplayError: If the commit is not here, the folder is not empty, or the rebuild stops.
    """
    commit, model = release.proposal.commit, release.ref.model
    bank = _checkout(root, commit, folder)
    tell(f"commit {commit[:12]} checked out into {bank}; the DVC cache is empty")
    python = _venv(bank, folder, tell) if environment == "venv" else Path(sys.executable)
    told = assumptions(bank, model, python)
    for line in told:
        tell(f"differs from that version's environment: {line}")
    _build(bank, model, python)
    made = bank / "reports" / model / "pack.json"
    if not made.is_file():
        raise ReplayError("the rebuild made no pack", expected=f"reports/{model}/pack.json", file=bank)
    lock = bank / _LOCK
    return Reproduced(
        ref=str(release.ref),
        commit=commit,
        python=_installed(python, ())[0],
        lock=file_digest(lock) if lock.is_file() else None,
        assumptions=told,
        changed=_changed(bank),
        compared=compare(release, bank),
        folder=bank,
    )


def compare(release: ReleaseState, bank: Path) -> tuple[Compared, ...]:
    """Digests of the proposal beside those of a rebuilt pack, then its files.

    Raises:
        ReplayError: If the rebuilt pack states digests that its content does not have.
        ReportError: If it is no pack.
    """
    model, proposed = release.ref.model, release.proposal.digests
    pack = read_pack((bank / "reports" / model / "pack.json").read_bytes())
    wrong = wrong_digests(pack)
    if wrong:
        raise ReplayError(f"the rebuilt pack states a wrong {' and '.join(wrong)} digest", file=bank)
    found = {**pack.digests, "pack": pack.pack_hash}
    profile = next((bank / file.path for file in release.proposal.files if file.name == "profile.json"), None)
    if profile is not None and profile.is_file():
        # No part of the pack: the proposal binds it by itself.
        found["profile"] = file_digest(profile)
    names = [*BINDING, *sorted(set(proposed) - set(BINDING) - {"environment"})]
    made = [Compared(n, proposed[n], found.get(n), n in BINDING) for n in names if n in proposed]
    for file in release.proposal.files:
        path = bank / file.path
        made.append(Compared(file.path, file.sha256, file_digest(path) if path.is_file() else None, False))
    return tuple(made)


def assumptions(bank: Path, model: str, python: Path | None = None) -> tuple[str, ...]:
    """What an environment has otherwise than the model's commit was compiled with.

    The commit's params.yaml names the versions of the libraries whose results it depends on.

    Args:
        bank: The bank's folder at that commit.
        model: Name of the model.
        python: Interpreter of the environment; this one otherwise.
    """
    path = bank / "models" / model / "params.yaml"
    try:
        params = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError):
        return (f"models/{model}/params.yaml cannot be read, so nothing is known of its environment",)
    declared: Mapping[str, str] = params.get("libraries") or {}
    here, installed = _installed(python or Path(sys.executable), tuple(sorted(declared)))
    found = [
        f"{name} {wanted} there, {installed[name] or 'none'} here"
        for name, wanted in sorted(declared.items())
        if str(wanted) != installed[name]
    ]
    series = ".".join(here.split(".")[:2])
    wanted_series = _python_of(bank)
    if wanted_series is not None and wanted_series != series:
        found.append(f"Python {wanted_series} there, {series} here")
    return tuple(found)


def _python_of(bank: Path) -> str | None:
    """``3.11`` from ``.python-version``, where the commit has one."""
    path = bank / ".python-version"
    return ".".join(path.read_text(encoding="utf-8").strip().split(".")[:2]) if path.is_file() else None


_ASK = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
def found(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
print(json.dumps([platform.python_version(), {name: found(name) for name in sys.argv[1:]}]))
"""


def _installed(python: Path, names: Sequence[str]) -> tuple[str, dict[str, str | None]]:
    """Version of an interpreter, and of packages that it would import."""
    done = _call([str(python), "-c", _ASK, *names], python.parent, _own(python))
    if done.returncode != 0:
        raise ReplayError("the environment does not run", got=done.stderr.strip()[-200:], file=python)
    version, found = json.loads(done.stdout)
    return version, found


def _checkout(root: Path, commit: str, folder: Path) -> Path:
    git = Git(root)
    if git.try_("cat-file", "-e", f"{commit}^{{commit}}").code != 0:
        raise ReplayError(
            f"commit {commit[:12]} is not in this repository", hint="git fetch --all, then the same command"
        )
    if folder.exists() and any(folder.iterdir()):
        raise ReplayError("the folder is not empty", expected="a new or empty folder", file=folder)
    top, prefix = git.line("rev-parse", "--show-toplevel"), git.line("rev-parse", "--show-prefix")
    clone = folder / "clone"
    # A clone, not a worktree: nothing of the rebuild can reach the bank's own index, refs or cache.
    _run(["git", "clone", "--quiet", "--no-checkout", "--no-tags", top, str(clone)], folder.parent, "be cloned")
    _run(["git", "checkout", "--quiet", "--detach", commit], clone, "be checked out")
    bank = clone / prefix
    # The commit itself may name a shared cache; the file that only this machine has overrides it.
    (bank / ".dvc").mkdir(exist_ok=True)
    (bank / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    return bank


def venv_commands(bank: Path, venv: Path) -> tuple[list[str], ...]:
    """What makes the environment of a commit: its lock file by hashes, then that version of Countermark.

    Raises:
        ReplayError: If the commit says nothing of its environment.
    """
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", *_PIP]
    commands = [[sys.executable, "-m", "venv", str(venv)]]
    if (bank / _LOCK).is_file():
        commands.append([*pip, "--require-hashes", "-r", str(bank / _LOCK)])
    elif (bank / _REQUIREMENTS).is_file():
        commands.append([*pip, "-r", str(bank / _REQUIREMENTS)])
    else:
        raise ReplayError(
            "the commit does not say what it was built with",
            expected=f"{_LOCK} or {_REQUIREMENTS}",
            hint="--environment same rebuilds with what is installed here",
            file=bank,
        )
    if (bank / "src" / "countermark").is_dir() and (bank / _PROJECT).is_file():
        # What builds the package is locked as well: nothing is fetched that no hash names.
        locked = (bank / _LOCK).is_file() and _BACKEND.search((bank / _LOCK).read_text(encoding="utf-8")) is not None
        commands.append([*pip, *(["--no-build-isolation"] if locked else []), "--no-deps", str(bank)])
    return tuple(commands)


def _venv(bank: Path, folder: Path, tell: Tell) -> Path:
    venv = (folder / "venv").absolute()
    python = venv / "bin" / "python"
    for command in venv_commands(bank, venv):
        tell("  " + " ".join(command))
        _run(command, bank, "be installed", _own(python))
    return python


def _build(bank: Path, model: str, python: Path) -> None:
    """Through the command line of the environment, with its own empty cache."""
    command = [str(python.parent / "countermark"), "build", model]
    done = _call(command, bank, _environment(bank, python), capture=False)
    if done.returncode != 0:
        raise ReplayError(
            "the rebuild stopped", got=f"'countermark build {model}' ended with {done.returncode}; see above", file=bank
        )


def _environment(bank: Path, python: Path) -> dict[str, str]:
    kept = {k: v for k, v in _own(python).items() if not k.startswith(("DVC_", "GIT_"))}
    path = f"{python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    # A cache that the user or the machine configured would answer in the place of the rebuild.
    private = bank / ".dvc" / "private"
    return {
        **kept,
        "PATH": path,
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(private),
        "DVC_SYSTEM_CONFIG_DIR": str(private),
        "DVC_SITE_CACHE_DIR": str(private),
    }


_ELSEWHERE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
"""Variables by which another version's modules would get into an environment, or its packages out of it."""


def _own(python: Path) -> dict[str, str]:
    """This process's variables, without those that would lead another interpreter than this one astray."""
    if python == Path(sys.executable):
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


def _changed(bank: Path) -> tuple[str, ...]:
    lines = Git(bank).run("status", "--porcelain", "--untracked-files=no").decode("utf-8").splitlines()
    return tuple(line[3:] for line in lines)


def _run(command: Sequence[str], folder: Path, what: str, environment: Mapping[str, str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = _call(command, folder, environment)
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip().splitlines()
        # pip says what is wrong in a line of its own, and goes on to list what it has.
        last = [line for line in told if line.startswith("ERROR:")][:1] or told
        raise ReplayError(f"the release could not {what}", got=last[-1][:300] if last else str(done.returncode))


def _call(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None, *, capture: bool = True
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            list(command), cwd=folder, env=environment, capture_output=capture, text=True, check=False
        )
    except FileNotFoundError:
        raise ReplayError(f"'{command[0]}' is not installed", hint="install it, or use --environment venv") from None
