"""What can change scores, told apart from the words of people by the declared types alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from countermark.config.base import Declared, Prose
from countermark.config.load import load_model
from countermark.config.spec import ModelSpec
from countermark.config.wording import SCORE_KEYS, dashed, scores_part, without_words, wording_places, wordless
from tests.portfolio.rich import rich_bank

MENDED = "mended"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A spec with everything that a spec can have."""
    return load_model(rich_bank(tmp_path_factory.mktemp("rich") / "bank"), "toy").spec


@pytest.fixture
def document(spec: ModelSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json")


def mend(value: Any, path: tuple[str, ...]) -> int:
    """Put other words to every place of a path; returns how many places there were."""
    key, rest = path[0], path[1:]
    if value is None:
        return 0
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    found = 0
    for own in keys if key == "*" else [key]:
        if isinstance(value, dict) and own not in value:
            continue  # Another member of a union.
        if rest:
            found += mend(value[own], rest)
        else:
            value[own] = [MENDED] if isinstance(value[own], list) else MENDED
            found += 1
    return found


def test_the_words_of_a_spec_are_listed() -> None:
    """Whoever declares another text for people adds it here, and says that no score depends on it."""
    assert {".".join(path) for path in wording_places()} == {
        "challenger.why",
        "contract.columns.*.meaning",
        "contract.columns.*.unit",
        "contract.rules.*.reason",
        "decision.cutoff_rationale",
        "fairness.attributes.*.provenance",
        "fairness.criterion",
        "features.*.available",
        "features.*.meaning",
        "features.*.missing",
        "features.*.proxy_note",
        "features.*.unit",
        "outcome.definition",
        "outcome.maturity.note",
        "outcome.notes",
        "purpose.affected",
        "purpose.assumptions.*.text",
        "purpose.decision",
        "purpose.limits.*.text",
        "purpose.population",
        "source.estimated_vintage.note",
        "source.licence",
        "source.owner",
        "source.personal_data",
        "source.title",
        "table_contracts.*.columns.*.meaning",
        "table_contracts.*.columns.*.unit",
        "table_contracts.*.rules.*.reason",
    }


# The rich bank has no rule in its second contract.
@pytest.mark.parametrize("path", [p for p in wording_places() if p[:3] != ("table_contracts", "*", "rules")])
def test_other_words_leave_the_scores_part_as_it_is(document: dict[str, Any], path: tuple[str, ...]) -> None:
    other = copy.deepcopy(document)
    assert mend(other, path) > 0
    assert other != document
    ModelSpec.model_validate(other)
    assert scores_part(other) == scores_part(document)
    assert without_words(other) == without_words(document)
    assert dashed(other) == dashed(document)


STRUCTURE: dict[str, tuple[tuple[str, ...], Any]] = {
    "a monotone constraint": (("features", "income", "monotone"), False),
    "an expected sign": (("features", "debt", "expected"), "none"),
    "a source column": (("features", "debt", "source"), "income"),
    "a value of the outcome": (("outcome", "positive"), 0),
    "the basis of maturity": (("outcome", "maturity", "basis"), "none"),
    "a date of the split": (("split", "out_of_time_from"), "2024-06-01"),
    "a depth": (("learner", "depth"), 9),
    "a seed of tuning": (("tuning", "seed"), 99),
    "a calibration": (("calibration", "method"), "beta"),
    "a bound of a grade": (("grades", "scale", "upper"), [0.2, 0.3, 1.0]),
    "a challenger": (("challenger", "learner", "c"), 0.5),
    "a minimum of a contract": (("contract", "columns", "debt", "minimum"), 1.0),
    "a window of a view": (("feature_views", "bills", "features", "bill_sum", "days"), 31),
    "a digest of the source": (("source", "path"), "other.csv"),
    "the kind": (("kind",), "fraud"),
    "the seed": (("policy", "seed"), 3),
}


@pytest.mark.parametrize("change", STRUCTURE)
def test_what_can_change_scores_changes_the_scores_part(document: dict[str, Any], change: str) -> None:
    path, value = STRUCTURE[change]
    other = copy.deepcopy(document)
    place = other
    for key in path[:-1]:
        place = place[key]
    assert place[path[-1]] != value
    place[path[-1]] = value
    assert scores_part(other) != scores_part(document)


def test_what_only_documents_and_evidence_see_is_no_part_of_the_scores(document: dict[str, Any]) -> None:
    other = copy.deepcopy(document)
    for key in set(document) - set(SCORE_KEYS) - {"policy"}:
        other[key] = None
    other["policy"] = {"seed": document["policy"]["seed"]}
    assert scores_part(other) == scores_part(document)


def test_a_feature_may_be_called_like_a_word(document: dict[str, Any]) -> None:
    """Places are told by the declared types: a name that people choose is never taken for one."""
    for name in ("meaning", "note", "unit", "why", "missing"):
        document["features"][name] = document["features"]["debt"]
        document["contract"]["columns"][name] = document["contract"]["columns"]["debt"]
    part = scores_part(document)
    for name in ("meaning", "note", "unit", "why", "missing"):
        assert part["features"][name] == part["features"]["debt"] != {}
        assert part["contract"]["columns"][name] == part["contract"]["columns"]["debt"] != {}


def test_a_wordless_spec_is_a_spec_with_dashes(spec: ModelSpec) -> None:
    blank = wordless(spec)
    assert {feature.meaning for feature in blank.features.values()} == {"-"}
    assert blank.source.estimated_vintage is not None
    assert blank.source.estimated_vintage.note == blank.source.owner == blank.outcome.definition == "-"
    assert blank.outcome.notes == ()
    assert {feature.unit for feature in blank.features.values()} == {None}
    assert scores_part(blank.model_dump(mode="json")) == scores_part(spec.model_dump(mode="json"))


def test_a_damaged_spec_has_another_scores_part_and_no_error(document: dict[str, Any]) -> None:
    for key in (*SCORE_KEYS, "policy"):
        damaged = {name: value for name, value in document.items() if name != key}
        if document[key] is not None:
            assert scores_part(damaged) != scores_part(document), key


def test_words_in_one_member_of_a_union_and_sense_in_another_are_refused() -> None:
    class Told(Declared):
        reason: Prose

    class Judged(Declared):
        reason: str

    class Both(Declared):
        rules: tuple[Told | Judged, ...]

    class Mixed(Declared):
        words: Prose | int

    with pytest.raises(TypeError, match="'reason' has words in one alternative"):
        wording_places(Both)
    with pytest.raises(TypeError, match="no alternative"):
        wording_places(Mixed)


def test_words_are_found_in_every_shape() -> None:
    class Inner(Declared):
        text: Prose
        size: int

    class Outer(Declared):
        optional: Inner | None
        listed: tuple[Inner, ...]
        named: dict[str, Inner]
        words: tuple[Prose, ...]
        said: dict[str, Prose]
        perhaps: Prose | None
        size: int

    found = {".".join(path) for path in wording_places(Outer)}
    assert found == {"optional.text", "listed.*.text", "named.*.text", "words", "said.*", "perhaps"}
