"""Protected groups of the test sample: who is compared with whom, and who is too few to be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.records.evidence import Block, RegisterRow, Scalar, Table
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import columns, counted, described, listed, printed

NO_ATTRIBUTE = "no protected attribute is available in the data"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a protected attribute beside its reference group.

    Attributes:
        attribute: Name of the attribute.
        name: Name of the group.
        reference_name: Name of the reference group, fixed by policy.
        member: Rows of the group, (n,).
        reference: Rows of the reference group, (n,).
        thin: Why the group must not be judged; None if it may be.
        blocks: Whether Not evaluated for this group colours the section: only where no group of the
            attribute can be judged, as thin grades do not block a scale either.
    """

    attribute: str
    name: str
    reference_name: str
    member: Mask
    reference: Mask
    thin: str | None
    blocks: bool

    @property
    def segment(self) -> str:
        """'sex=women', the segment of its register rows."""
        return f"{self.attribute}={self.name}"

    @property
    def label(self) -> str:
        """'sex: women', the group as tables and figures name it."""
        return f"{self.attribute}: {self.name}"

    @property
    def n(self) -> int:
        """Persons in the group."""
        return int(np.count_nonzero(self.member))

    @property
    def both(self) -> Mask:
        """Rows of the group or its reference group."""
        return self.member | self.reference

    def gating(self, undefined: str | None) -> bool | None:
        """Override of the gating table: a group that cannot be judged gates only if it blocks."""
        return None if undefined is None or self.blocks else False


def favourable(inputs: EvidenceInput, sample: Sample, factor: float = 1.0) -> Mask:
    """Who gets the favourable outcome: calibrated probability below the cut-off in use, times a factor."""
    mask: Mask = sample.p < inputs.spec.decision_policy.cutoff * factor
    return mask


def groups_of(inputs: EvidenceInput, sample: Sample) -> tuple[Group, ...]:
    """Every group but the reference, by attribute, in a fixed order.

    A group is thin where it or its reference has fewer persons than the policy's smallest group, or where, at
    the reference group's rate, too few of it would be selected for a rate to mean anything.
    """
    if inputs.spec.fairness is None:
        return ()
    found: list[Group] = []
    for attribute, declared in inputs.spec.fairness.attributes.items():
        values = sample.protected.get(attribute)
        if values is None:
            continue
        reference = np.asarray(values == declared.reference, dtype=np.bool_)
        names = sorted({str(v) for v in values if v is not None} - {declared.reference})
        masks = [np.asarray(values == name, dtype=np.bool_) for name in names]
        reasons = [_thin(inputs, sample, mask, reference) for mask in masks]
        blocks = all(reason is not None for reason in reasons)
        found += [
            Group(attribute, name, declared.reference, mask, reference, reason, blocks)
            for name, mask, reason in zip(names, masks, reasons, strict=True)
        ]
    return tuple(found)


def _thin(inputs: EvidenceInput, sample: Sample, member: Mask, reference: Mask) -> str | None:
    policy = inputs.spec.policy
    n, m = int(np.count_nonzero(member)), int(np.count_nonzero(reference))
    if m < policy.minimum_group:
        return f"the reference group has {counted(m, 'person', 'persons')}; the policy asks for {policy.minimum_group}"
    if n < policy.minimum_group:
        return f"the group has {counted(n, 'person', 'persons')}; the policy asks for {policy.minimum_group}"
    chosen = favourable(inputs, sample)
    expected = n * int(np.count_nonzero(chosen & reference)) / m
    if expected < policy.minimum_group_selected:
        return (
            f"at the reference group's rate {printed(expected, 'number')} of the group would be selected; "
            f"the policy asks for {policy.minimum_group_selected}"
        )
    return None


def attributes_without_groups(inputs: EvidenceInput, sample: Sample) -> dict[str, str]:
    """Declared attributes for which nothing can be compared, with the reason."""
    if inputs.spec.fairness is None:
        return {}
    compared = {g.attribute for g in groups_of(inputs, sample)}
    reasons = {}
    for attribute in inputs.spec.fairness.attributes:
        if attribute in compared:
            continue
        joined = attribute in sample.protected
        reasons[attribute] = "no group beside the reference group" if joined else "not joined to the test sample"
    return reasons


def empty_attribute_rows(inputs: EvidenceInput, section: str, tests: dict[str, str]) -> tuple[RegisterRow, ...]:
    """A Not evaluated row per test and attribute for which nothing can be compared."""
    sample = inputs.test
    return tuple(
        inputs.row(Statistic(
            test_id, section, f"{label}, {attribute}", sample=sample.role, n=sample.n, segment=attribute, value=None,
            limit=test_id, undefined=reason,
        ))
        for attribute, reason in attributes_without_groups(inputs, sample).items()
        for test_id, label in tests.items()
    )  # fmt: skip


def left_open(absent: Sequence[RegisterRow], thin: Sequence[str], few: str) -> list[str]:
    """What a section could not judge, as clauses of its conclusion.

    Args:
        absent: Rows of attributes for which nothing can be compared.
        thin: Segments of the groups that are too small.
        few: Of what they have too few, such as 'persons'.
    """
    clauses = []
    if absent:
        clauses.append(f"nothing could be compared for {listed(sorted({row.segment for row in absent}))}")
    if thin:
        clauses.append(f"no judgement on {listed(thin)}, too few {few}")
    return clauses


def untested(inputs: EvidenceInput, section: str, tests: Mapping[str, str], reason: str) -> tuple[RegisterRow, ...]:
    """A Not evaluated row per test, by id with its label, for one reason."""
    sample = inputs.test
    return tuple(
        inputs.row(Statistic(
            test_id, section, label, sample=sample.role, n=sample.n, value=None, limit=test_id, undefined=reason,
        ))
        for test_id, label in tests.items()
    )  # fmt: skip


def without_attributes(
    inputs: EvidenceInput, section: str, tests: dict[str, str], question: str, so_what: str
) -> SectionEvidence:
    """The section where the data hold no protected attribute: every test Not evaluated, for one reason."""
    return SectionEvidence(
        code=section,
        conclusion=f"{question} could not be evaluated: {NO_ATTRIBUTE}.",
        would_change="Protected attributes, collected or estimated for testing only and kept apart from the inputs.",
        so_what=so_what,
        rows=untested(inputs, section, tests, NO_ATTRIBUTE),
        extras={"evaluated": False},
    )


def provenance(inputs: EvidenceInput, block_id: str) -> Block:
    """Where group data come from, who the reference is, and who has no group."""
    declared, sample = inputs.spec.fairness, inputs.test
    rows: list[dict[str, Scalar]] = []
    for name, attribute in {} if declared is None else declared.attributes.items():
        values = sample.protected.get(name)
        absent = sample.n if values is None else sum(v is None for v in values)
        rows.append({"name": name, "source": attribute.provenance, "reference": attribute.reference, "absent": absent})
    chosen = "" if declared is None else f" Criterion chosen: {declared.criterion}."
    return Table(
        id=block_id,
        caption=f"Group data are used for testing only and are no input of the model ({described(sample)}).{chosen}",
        columns=columns(
            ("name", "Attribute", "text"),
            ("source", "Source of group data", "text"),
            ("reference", "Reference group", "text"),
            ("absent", "Without a group", "int"),
        ),
        rows=tuple(rows),
    )
