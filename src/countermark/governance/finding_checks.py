"""What a finding must be before it is signed: about a model that is known, for somebody who is, until a day to come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from countermark.config.yamlfile import read_yaml
from countermark.errors import RegistryError
from countermark.governance.candidate import candidate_pack
from countermark.governance.store import CandidateStore
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import FindingOpened
from countermark.registry.inbox import ROLES
from countermark.registry.standing import ReleaseState
from countermark.registry.state import RegistryState
from countermark.registry.trust import lapse, same_person

_NAMED = 6
"""Tests that a refusal names."""


def checked_finding(root: Path, state: RegistryState, finding: FindingOpened) -> FindingOpened:
    """A finding with an owner: the one it names, or the owner of its model.

    Args:
        root: The bank's folder, for packs and policies.
        state: The fold of the log.
        finding: The finding, as it was typed.

    Raises:
        RegistryError: If its model, release or test is unknown, its owner is no principal and no role, its date lies in
            the past, or it says nothing.
    """
    if not finding.text.strip():
        raise RegistryError("a finding says what was found", expected="--text TEXT")
    release = _release(state, finding)
    if finding.owner is not None:
        _check_owner(state, finding.owner)
    if lapse(finding.due) <= state.now:
        raise RegistryError("a finding cannot be due in the past", expected="a day to come", got=finding.due)
    if finding.test is not None:
        _check_test(root, state, release, finding.test)
    return msgspec.structs.replace(finding, owner=finding.owner or release.proposal.owner)


def _release(state: RegistryState, finding: FindingOpened) -> ReleaseState:
    """The release that a finding is about; of a finding about a model, its newest candidate."""
    if finding.release is not None:
        return state.release(ReleaseRef.parse(finding.release))
    found = [release for ref, release in state.releases.items() if ref.model == finding.model]
    if not found:
        raise RegistryError(
            f"the log knows no model '{finding.model}'",
            expected="one of: " + ", ".join(state.models) if state.models else "a model with a proposal",
        )
    return max(found, key=lambda release: release.candidate)


def _check_owner(state: RegistryState, owner: str) -> None:
    principals = state.governance.body.principals
    if owner in ROLES or any(same_person(owner, name) for p in principals for name in (p.principal, p.person)):
        return
    raise RegistryError(
        "a finding needs an owner whom the governance state knows",
        expected="one of: " + ", ".join(p.principal for p in principals) + "; or a role: " + ", ".join(ROLES),
        got=owner,
    )


def _check_test(root: Path, state: RegistryState, release: ReleaseState, test: str) -> None:
    known = sorted(set(_tests(root, state, release)))
    if test not in known:
        near = [name for name in known if name.partition(".")[0] == test.partition(".")[0]]
        raise RegistryError(
            f"neither the model's pack nor the bank's policy knows a test '{test}'",
            expected="one such as: " + ", ".join((near or known)[:_NAMED]),
        )


def _tests(root: Path, state: RegistryState, release: ReleaseState) -> Iterator[str]:
    """Tests of the model's packs that are at hand, and of the policies in them and in the bank."""
    store = CandidateStore(root)
    for ref, one in state.releases.items():
        if ref.model == release.ref.model:
            yield from (gate.test for gate in one.proposal.gates)
            try:
                pack = candidate_pack(store, one)
            except RegistryError:
                continue  # its files may lie elsewhere by now
            yield from (row.test_id for row in pack.register_rows)
            yield from _limited(pack.policy)
    for path in sorted((root / "conf" / "policy").glob("*.yaml")):
        yield from _limited(read_yaml(path, str(path.relative_to(root))).data)


def _limited(policy: object) -> Iterator[str]:
    if isinstance(policy, dict):
        for part in ("limits", "gating"):
            found = policy.get(part)
            yield from map(str, found if isinstance(found, dict) else ())
