"""People of a test bank with real SSH keys, and a log that they write."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from countermark.records.clock import iso
from countermark.records.digest import sha256_hex
from countermark.registry.bodies import GovernanceBody, Key, Principal, Role
from countermark.registry.events import GENESIS_PREVIOUS, Entry, TagRecord, payload_bytes
from countermark.registry.fold import fold, genesis_digest
from countermark.registry.sshsig import LOG_NAMESPACE, armour, parse_public, signed_bytes
from countermark.registry.state import RegistryState

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
LATER = START + timedelta(days=60)
REF = "toy@v1.0.0"
COMMIT = "c" * 40
DIGESTS = {
    name: sha256_hex(name.encode())
    for name in ("results", "evidence", "scorer", "decision", "pack", "spec", "environment")
}


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="countermark-keys-"))


class Hand:
    """Signs in process with a key that ssh-keygen made: the same bytes as OpenSSH's own signature, a hundred times faster."""

    def __init__(self, path: Path) -> None:
        private = load_ssh_private_key(path.read_bytes(), None)
        assert isinstance(private, Ed25519PrivateKey)
        self.path, self._private = path, private
        self.public = parse_public(path.with_name(path.name + ".pub").read_text())[0]

    def sign(self, message: bytes, namespace: str) -> bytes:
        return armour(self.public, namespace, self._private.sign(signed_bytes(message, namespace)))


@functools.cache
def key(name: str) -> Hand:
    """A signer of that name; the key pair is made by ssh-keygen once per test process."""
    path = _folder() / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
    return Hand(path)


PEOPLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "dana": ("Dana Developer", ("developer",)),
    "vera": ("Vera Validator", ("validator",)),
    "rik": ("Rik Risk", ("risk",)),
    "eli": ("Eli Engineer", ("engineer",)),
    "olga": ("Olga Owner", ("owner",)),
    "aud": ("Aud Auditor", ("auditor",)),
}


def governance(
    people: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    *,
    expires: Mapping[str, str] | None = None,
    **changes: Any,
) -> GovernanceBody:
    """The governance state of the test bank."""
    rows = tuple(
        Principal(
            principal=name,
            person=person,
            roles=cast(tuple[Role, ...], tuple(roles)),
            keys=(Key(public=key(name).public, expires=(expires or {}).get(name)),),
        )
        for name, (person, roles) in (people or PEOPLE).items()
    )
    base: dict[str, Any] = {
        "version": 1,
        "principals": rows,
        "quorum": {"1": ("validator", "risk"), "2": ("validator",), "3": ("validator",)},
        "amendment_quorum": 2,
        "conflicts": (),
    }
    return GovernanceBody(**{**base, **changes})


class Log:
    """A log under construction: each call signs and appends one entry, allowed or not."""

    def __init__(self, body: GovernanceBody | None = None, *, by: str = "rik", start: datetime = START) -> None:
        self.entries: list[Entry] = []
        self.now = start
        self.add("governance", (body or governance()).document(), by=by)
        self.root = genesis_digest(self.entries)

    def add(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        by: str,
        signed_by: str | None = None,
        tags: Sequence[str] = (),
        at: datetime | None = None,
    ) -> int:
        """Append an entry; returns its position."""
        position = len(self.entries)
        if at is None:
            self.now += timedelta(hours=1)
        payload = payload_bytes(
            position=position,
            previous=self.entries[-1].digest if self.entries else GENESIS_PREVIOUS,
            kind=kind,
            at=iso(at or self.now),
            principal=by,
            body=body,
            tags=[TagRecord(name.replace("POSITION", str(position)), sha256_hex(name.encode())[:40]) for name in tags],
        )
        self.entries.append(Entry(payload, key(signed_by or by).sign(payload, LOG_NAMESPACE)))
        return position

    def fold(self, now: datetime = LATER) -> RegistryState:
        return fold(self.entries, self.root, now)

    def propose(self, ref: str = REF, *, by: str = "dana", **changes: Any) -> int:
        model, _, version = ref.partition("@v")
        body = {
            "release": ref,
            "commit": COMMIT,
            "tier": 1,
            "change": "model",
            "change_class": "new model",
            "owner": "Olga Owner",
            "developers": ["A. Builder"],
            "digests": DIGESTS,
            "files": [],
            "gates": [],
            "controls": [],
            "opinion": "Fit for use",
            "evidence": [],
            "note": "",
            **changes,
        }
        return self.add("proposal", body, by=by, tags=[f"candidate/{model}/v{version}/POSITION"])

    def approve(
        self, candidate: int, role: str, *, by: str, ref: str = REF, signed_by: str | None = None, **changes: Any
    ) -> int:
        model, _, version = ref.partition("@v")
        body = {
            "release": ref,
            "candidate": candidate,
            "role": role,
            "digests": {name: DIGESTS[name] for name in ("results", "evidence", "scorer", "decision")},
            "conditions": [],
            "expires": None,
            "text": "",
            **changes,
        }
        tag = f"approve/{model}/v{version}/{role}/{by}/POSITION"
        return self.add("approval", body, by=by, signed_by=signed_by, tags=[tag])

    def waive(self, candidate: int, *, test: str | None = None, finding: str | None = None, by: str = "rik", ref: str = REF, expires: str = "2027-06-30") -> int:  # fmt: skip
        body = {
            "release": ref, "candidate": candidate, "test": test, "finding": finding, "reason": "Known and bounded",
            "owner": "Olga Owner", "expires": expires,
        }  # fmt: skip
        return self.add("waiver", body, by=by)

    def open_finding(self, severity: str = "high", *, by: str = "vera", ref: str | None = REF, test: str | None = None) -> str:  # fmt: skip
        body = {
            "model": "toy", "release": ref, "severity": severity, "test": test, "text": "Grade 7 is off",
            "owner": "Olga Owner", "due": "2026-12-24",
        }  # fmt: skip
        return f"F-{self.add('finding_opened', body, by=by)}"

    def publish(
        self, candidate: int, *, by: str = "eli", ref: str = REF, bundle: str = "b" * 64, **changes: Any
    ) -> int:
        body = {"release": ref, "candidate": candidate, "commit": COMMIT, "bundle": bundle, "files": {}, **changes}
        return self.add("publication", body, by=by, tags=[ref])

    def assign(self, sequence: int, *, by: str = "eli", ref: str = REF) -> int:
        model = ref.partition("@")[0]
        body = {"release": ref, "environment": "prod", "sequence": sequence}
        return self.add("authorisation", body, by=by, tags=[f"{model}#prod#{sequence}"])

    def live(self, ref: str = REF, sequence: int = 1, **changes: Any) -> int:
        """Propose, approve by both, publish and assign; returns the candidate."""
        candidate = self.propose(ref, **changes)
        self.approve(candidate, "validator", by="vera", ref=ref)
        self.approve(candidate, "risk", by="rik", ref=ref)
        self.publish(candidate, ref=ref, commit=changes.get("commit", COMMIT))
        self.assign(sequence, ref=ref)
        return candidate


def reasons(state: RegistryState) -> list[str]:
    """Why entries were refused."""
    return [refused.reason for refused in state.refused]
