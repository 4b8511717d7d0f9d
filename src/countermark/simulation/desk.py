"""The governance of a bank of a simulation: builds, proposals, approvals, publications, in simulated time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from countermark.errors import RegistryError, SimulationError
from countermark.governance import workflow
from countermark.governance.access import BankRegistry, open_registry
from countermark.governance.publication import assign, publish
from countermark.records.clock import SimulatedClock
from countermark.records.release import ReleaseRef
from countermark.registry.signing import KeySigner
from countermark.simulation.people import PEOPLE, charter, make_keys

WAIVED_DAYS = 500
"""How long a waiver of the simulation holds."""

Say = Callable[[str], None]


class Desk:
    """Builds and governs one model, with signers made for the occasion; their keys lie beside the bank.

    Args:
        root: The bank's folder, with its files written, in no repository yet.
        model: Name of the model.
        clock: Simulated time.
        say: Called with each line of the story.
    """

    def __init__(self, root: Path, model: str, clock: SimulatedClock, say: Say) -> None:
        self.root = root
        self.model = model
        self.clock = clock
        self.say = say
        self.keys: dict[str, KeySigner] = make_keys(root.parent / "keys")
        self._git("init", "-q", "-b", "main")
        self._git("config", "user.name", "Simulator")
        self._git("config", "user.email", "simulator@localhost")
        self._git("config", "commit.gpgsign", "false")
        if not (root / ".dvc").is_dir():
            self.run("dvc", "init", "-q")
        self.run("countermark", "compile")
        self.commit("The bank as it begins")
        log = open_registry(root, clock=clock).log
        self.trust_root = log.begin(self.keys["rik"], charter(self.keys), clock.now())
        self._git("config", "countermark.trustRoot", self.trust_root)

    @property
    def bank(self) -> BankRegistry:
        """The registry, a minute later: every entry has its own time."""
        self.clock.set(self.clock.now() + timedelta(minutes=1))
        return open_registry(self.root, trust_root=self.trust_root, clock=self.clock)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)

    def edit(self, path: str, old: str, new: str) -> None:
        """Change one place of a file.

        Raises:
            SimulationError: If the place is not there.
        """
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        if old not in text:
            raise SimulationError(f"'{path}' does not hold what the simulation changes", expected=old)
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def build(self, message: str) -> None:
        """Compile, build with DVC, and commit."""
        self.run("countermark", "build", self.model)
        self.commit(message)

    def release(self, version: str, *, evidence: tuple[Path, ...] = ()) -> ReleaseRef:
        """Take a build from proposal to authorisation, with everybody's signature and a waiver for every open gate."""
        ref = ReleaseRef(self.model, version)
        workflow.propose(self.bank, self.keys["dana"], self.model, evidence=evidence)
        self.say(f"dana proposes {ref}")
        self._waive(ref)
        for name in ("vera", "rik"):
            role = PEOPLE[name][1][0]
            if role in self.bank.state().roles_for(ref):
                workflow.approve(self.bank, self.keys[name], ref, workflow.Verdict(role=role))
                self.say(f"{name} approves as {role}")
        publish(self.bank, self.keys["eli"], ref)
        assign(self.bank, self.keys["eli"], ref)
        self.commit(f"{ref} published")
        self.say(f"eli publishes {ref} and authorises it for prod")
        return ref

    def _waive(self, ref: ReleaseRef) -> None:
        proposal = self.bank.state().release(ref).proposal
        controlled = {test for control in proposal.controls for test in control.tests}
        waived = [gate for gate in proposal.gates if gate.test not in controlled]
        until = f"{self.clock.now() + timedelta(days=WAIVED_DAYS):%Y-%m-%d}"
        for gate in waived:
            workflow.waive(
                self.bank,
                self.keys["rik"],
                ref,
                subject=(gate.test, None),
                reason="Accepted for the simulation until the next validation",
                owner="Olga Owner",
                expires=until,
            )
        if waived:
            self.say(f"rik waives until {until}: " + ", ".join(f"{g.test} ({g.light})" for g in waived))

    def self_approval(self, version: str) -> str | None:
        """Let the developer approve their own candidate; the refusal in words, or None if it went through."""
        try:
            ref = ReleaseRef(self.model, version)
            workflow.approve(self.bank, self.keys["dana"], ref, workflow.Verdict(role="validator"))
        except RegistryError as error:
            return error.what
        return None

    def _git(self, *arguments: str) -> None:
        self.run("git", *arguments)

    def run(self, *command: str) -> None:
        """Run a command of this environment in the bank.

        Raises:
            SimulationError: If it fails, with what it said.
        """
        here = Path(sys.executable).parent
        # Nothing that this process was told of a real bank's ledger, log or repository may reach the simulated one.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COUNTERMARK_", "GIT_"))}
        kept["PATH"] = f"{here}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(command, cwd=self.root, env=kept, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SimulationError(
                f"'{' '.join(command[:3])}' failed in the simulated bank",
                got=(done.stdout[-1500:] + done.stderr[-1500:]).strip(),
            )
