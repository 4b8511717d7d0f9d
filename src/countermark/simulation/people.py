"""The people of the simulated bank, with real SSH keys made for the occasion."""

from __future__ import annotations

import subprocess
from pathlib import Path

from countermark.errors import SimulationError
from countermark.registry.bodies import GovernanceBody, Key, Principal, Role
from countermark.registry.signing import KeySigner

PEOPLE: dict[str, tuple[str, tuple[Role, ...]]] = {
    "dana": ("Dana Developer", ("developer",)),
    "vera": ("Vera Validator", ("validator",)),
    "rik": ("Rik Risk", ("risk",)),
    "eli": ("Eli Engineer", ("engineer",)),
    "olga": ("Olga Owner", ("owner",)),
}
"""Principal, person and roles."""


def make_keys(folder: Path) -> dict[str, KeySigner]:
    """A new key pair for each principal.

    Raises:
        SimulationError: If ssh-keygen fails.
    """
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    signers = {}
    for name in PEOPLE:
        path = folder / name
        done = subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SimulationError("no key could be made", got=done.stderr[:200], hint="is ssh-keygen installed?")
        signers[name] = KeySigner(path)
    return signers


def charter(signers: dict[str, KeySigner]) -> GovernanceBody:
    """The first governance state: tier 1 needs validator and risk, the others a validator."""
    return GovernanceBody(
        version=1,
        principals=tuple(
            Principal(
                principal=name, person=person, roles=roles, keys=(Key(public=signers[name].public, expires=None),)
            )
            for name, (person, roles) in PEOPLE.items()
        ),
        quorum={"1": ("validator", "risk"), "2": ("validator",), "3": ("validator",)},
        amendment_quorum=2,
        conflicts=(),
    )
