"""The evidence stage: run every section that has something to compute, check it, store it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from countermark.config.policy import ModelKind, Policy
from countermark.errors import EvidenceError
from countermark.records.digest import canonical_json, digest_of
from countermark.records.evidence import Block, Finding, Record, RegisterRow
from countermark.records.register import registered_tests
from countermark.validation.inputs import EvidenceInput, SectionEvidence, evidence_number
from countermark.validation.registry import SECTIONS, SectionEntry


class EvidenceSection(Record):
    """:class:`SectionEvidence` as a record that can be stored."""

    code: str
    conclusion: str
    would_change: str | None = None
    so_what: str | None = None
    rows: tuple[RegisterRow, ...] = ()
    blocks: tuple[Block, ...] = ()
    findings: tuple[Finding, ...] = ()
    applicable: bool = True
    extras: dict[str, Any] = Field(default_factory=dict)

    def value(self) -> SectionEvidence:
        """Back to what section functions return."""
        return SectionEvidence(**{name: getattr(self, name) for name in type(self).model_fields})


class Evidence(Record):
    """``evidence.json``: every computed section, before anything is written about it."""

    format: Literal["countermark/evidence/1"] = "countermark/evidence/1"
    model: str
    kind: ModelKind
    as_of: str
    test_role: str
    data_hash: str
    scorer: str
    challenger: str | None
    policy: str = Field(description="Digest of the policy that judged the rows.")
    semantics: dict[str, str]
    sections: tuple[EvidenceSection, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Evidence:
        """Read ``evidence.json``.

        Raises:
            pydantic.ValidationError: If it is not one.
        """
        return cls.model_validate_json(data)


def evidence(
    inputs: EvidenceInput,
    progress: Callable[[str], None] = lambda _: None,
    sections: Sequence[SectionEntry] = SECTIONS,
) -> Evidence:
    """Compute every section that has something to compute.

    Args:
        inputs: Samples, scorers and the records of earlier stages.
        progress: Told the section that starts.
        sections: The registry.

    Raises:
        EvidenceError: For an unknown test id in the gating table or in a row, a row under the wrong section, or a
            value that cannot be stored.
    """
    spec = inputs.spec
    check_policy(spec.policy)
    done = []
    for entry in sections:
        if entry.compute is None or entry.inapplicable_line(spec.kind) is not None:
            continue
        progress(f"{entry.code} {entry.title}")
        result = entry.compute(inputs)
        check_section(entry.code, result)
        done.append(_stored(result))
    return Evidence(
        model=spec.name,
        kind=spec.kind,
        as_of=spec.as_of,
        test_role=inputs.test.role,
        data_hash=inputs.data_hash,
        scorer=inputs.scorer.digest,
        challenger=None if inputs.challenger is None else inputs.challenger.digest,
        policy=policy_digest(spec.policy),
        semantics=dict(inputs.semantics),
        sections=tuple(done),
    )


def policy_digest(policy: Policy) -> str:
    """SHA-256 of the policy's canonical JSON."""
    return digest_of(policy.model_dump(mode="json"))


def check_policy(policy: Policy) -> None:
    """Refuse a gating table that names a test nobody knows: it would gate nothing, silently.

    Raises:
        EvidenceError: If it does.
    """
    unknown = sorted(set(policy.gating) - set(registered_tests()))
    if unknown:
        raise EvidenceError(
            f"policy '{policy.name}' gates tests that are not registered: " + ", ".join(f"'{t}'" for t in unknown),
            expected="test ids of the register, such as 'cal.jeffreys'",
            hint=f"correct 'gating' in conf/policy/{policy.name}.yaml",
        )


def check_section(code: str, result: SectionEvidence) -> None:
    """Refuse a section that answers under another code, or rows with an unregistered test id.

    Raises:
        EvidenceError: If it does.
    """
    if result.code != code:
        raise EvidenceError("a section answers under another code", expected=code, got=result.code)
    for row in result.rows:
        if row.test_id not in registered_tests():
            raise EvidenceError(
                f"section {code} records the unregistered test '{row.test_id}'",
                expected="a test id of records/data/tests.yaml",
                hint="register the test with its section, title and formula",
            )
        if row.section != code:
            raise EvidenceError(f"section {code} records a row of another section", expected=code, got=row.section)


def _stored(result: SectionEvidence) -> EvidenceSection:
    record = EvidenceSection(
        **{name: getattr(result, name) for name in EvidenceSection.model_fields if name != "extras"},
        extras={key: _plain(value, f"extra '{key}' of section {result.code}") for key, value in result.extras.items()},
    )
    # Numbers in tables and figures are rounded here too: their last bits differ between processors.
    return EvidenceSection.model_validate(_rounded(record.model_dump(mode="json")))


def _plain(value: Any, name: str) -> Any:
    """JSON values alone: numpy scalars and tuples become plain; anything else is refused."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        raise EvidenceError(f"{name} is not a finite number", expected="a number, or None with a reason")
    if value is None or isinstance(value, bool | int | float | str):
        return value if type(value) in (bool, int, float, str) or value is None else str(value)
    raise EvidenceError(f"{name} cannot be stored", expected="JSON values", got=type(value).__name__)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return evidence_number(value)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
