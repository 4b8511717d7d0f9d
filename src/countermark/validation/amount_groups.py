"""F1 to F3 of amounts: group tests are defined for decisions and events, so they are Not evaluated, and say why."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from countermark.validation.groups import untested
from countermark.validation.inputs import EvidenceInput, SectionEvidence

_REASON = "the model estimates an amount: nobody gets a favourable outcome by it, and there is no event to err about"


def without_decision(
    section: str, tests: Mapping[str, str], question: str
) -> Callable[[EvidenceInput], SectionEvidence]:
    """The section of a model that decides nothing: every test Not evaluated, for one reason.

    Args:
        section: Section code.
        tests: Label of each test by id.
        question: What the section asks, as the subject of a sentence.
    """

    def compute(inputs: EvidenceInput) -> SectionEvidence:
        return SectionEvidence(
            code=section,
            conclusion=f"{question} was not evaluated: {_REASON}.",
            would_change="Tests of the estimate's level and rank within groups, where prices or limits follow from it.",
            so_what=(
                "Where the estimate enters a price, a limit or a collection measure, its effect on groups has to be "
                "shown with that decision."
            ),
            rows=untested(inputs, section, tests, _REASON),
            extras={"evaluated": False},
        )

    return compute
