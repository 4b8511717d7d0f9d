"""What of a pack stands between a candidate and its approval, and who can cover it."""

from __future__ import annotations

from collections.abc import Sequence

from countermark.config.spec import ModelSpec
from countermark.errors import RegistryError
from countermark.records.evidence import Pack
from countermark.records.lights import Light
from countermark.records.unanswered import unanswered
from countermark.registry.bodies import Condition, Control, Gate
from countermark.registry.standing import ReleaseState
from countermark.registry.state import RegistryState
from countermark.validation.catalogue import severity_policy
from countermark.validation.opinion import propose

_BAD = (Light.FAIL, Light.NOT_EVALUATED)
_WORDS = {"fail": "Fail", "not_evaluated": "Not evaluated"}
UNANSWERED_TEXT = "text.unanswered"
"""Gate of a candidate whose spec still asks what customers and committees are to be told."""
_SHOWN = 12


def gates_of(pack: Pack) -> tuple[Gate, ...]:
    """What stands between a pack and its release: bad gating tests, and texts that nobody has written."""
    return (*tests_of(pack), *_texts_of(pack))


def _texts_of(pack: Pack) -> tuple[Gate, ...]:
    """A reason that says 'Unanswered: ...' goes out to a customer as it is, and no control mends that afterwards."""
    found = unanswered(pack.spec)
    if not found:
        return ()
    shown = found[:_SHOWN] if len(found) <= _SHOWN else (*found[: _SHOWN - 1], f"{len(found) - _SHOWN + 1} more")
    return (Gate(test=UNANSWERED_TEXT, light="fail", sections=shown, hard=True),)


def tests_of(pack: Pack) -> tuple[Gate, ...]:
    """Gating tests of a pack that Failed or were Not evaluated, one entry per test id, in the order of the register."""
    found: dict[str, list[tuple[Light, str]]] = {}
    for row in pack.register_rows:
        if row.gating and row.light in _BAD:
            found.setdefault(row.test_id, []).append((row.light, row.section))
    hard = severity_policy().hard
    return tuple(
        Gate(
            test=test,
            light="fail" if any(light is Light.FAIL for light, _ in rows) else "not_evaluated",
            sections=tuple(dict.fromkeys(section for _, section in rows)),
            hard=test in hard and any(light is Light.FAIL for light, _ in rows),
        )
        for test, rows in found.items()
    )


def controls_of(pack: Pack) -> tuple[Control, ...]:
    """Controls that the pack itself declares for such tests, with owner and expiry.

    A test is covered by a control only where each of its sections is, and until the first of them expires.
    """
    conditions = propose(pack.register_rows, ModelSpec.model_validate(pack.spec)).conditions
    bad = {(row.section, row.test_id, row.light) for row in pack.register_rows if row.gating and row.light in _BAD}
    covered = {(c.section, c.test_id, c.light): c for c in conditions}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for gate in tests_of(pack):
        own = [key for key in bad if key[1] == gate.test]
        if all(key in covered for key in own):
            first = min((covered[key] for key in own), key=lambda c: (c.expires, c.section))
            groups.setdefault((first.control, first.owner, first.expires), []).append(gate.test)
    return tuple(
        Control(tests=tuple(tests), text=text, owner=owner, expires=expires)
        for (text, owner, expires), tests in groups.items()
    )


def require_covered(state: RegistryState, release: ReleaseState, extra: Sequence[Condition] = ()) -> None:
    """Refuse a candidate whose bad gates or findings nothing covers, and say who can do what about each.

    Raises:
        RegistryError: Listing every test and finding that is not covered.
    """
    lines = [*_gate_lines(state, release, extra), *_finding_lines(state, release, extra)]
    if lines:
        risk = ", ".join(state.governance.holders("risk")) or "nobody yet"
        raise RegistryError(
            f"'{release.ref}' is held up by {len(lines)} test{'s or findings' if len(lines) > 1 else ' or finding'}",
            expected="a waiver by risk, or a condition or control with owner and expiry, for each of them",
            got="\n    " + "\n    ".join(lines),
            hint=f"risk ({risk}) waives: countermark finding waive {release.ref} --test TEST --reason ... --owner ... "
            "--expires DATE; an approver conditions: countermark release approve "
            f"{release.ref} --condition TEXT --test TEST --expires DATE",
        )


def _gate_lines(state: RegistryState, release: ReleaseState, extra: Sequence[Condition]) -> list[str]:
    return [
        f"{gate.test} ({', '.join(gate.sections)}) {_WORDS[gate.light]}: "
        + ("a waiver by risk alone; no condition can cover it" if gate.hard else "a waiver by risk, or a condition")
        for gate in release.uncovered(state.now, extra)
    ]


def _finding_lines(state: RegistryState, release: ReleaseState, extra: Sequence[Condition]) -> list[str]:
    return [
        f"{finding.id} {finding.body.severity} finding by {finding.by}: close it, "
        + ("or a waiver by risk" if finding.body.severity == "critical" else "a waiver by risk, or a condition")
        for finding in state.blocking(release.ref, extra)
    ]
