"""Everything that a composed spec gets wrong and that no data is needed to find.

What is found here is told when conf/ is compiled, with file and line; the stages keep their own guards for what only
the data can show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from countermark.config.column_check import contracts_of, model_problems, table_problems
from countermark.config.contract_check import contract_problems
from countermark.config.fitting import fitting_problems, learner_problems, weight_problems
from countermark.config.kinds import kind_problems, live_measures
from countermark.config.master_scale import grade_problems
from countermark.config.policy_check import policy_problems
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.segment_check import segment_problems
from countermark.config.source_check import source_problems
from countermark.config.spec import Fairness, ModelSpec, Protected
from countermark.config.yamlfile import KeyPath
from countermark.records.register import registered_tests


def spec_problems(spec: ModelSpec) -> Iterator[Problem]:
    """Every mistake of a spec that its parts show together, in the order of the road: source to document."""
    yield from kind_problems(spec)
    yield from _reason_problems(spec)
    yield from _below(("source",), source_problems(spec.source))
    for path, contract in contracts_of(spec).items():
        yield from _below(path, contract_problems(contract, spec.source))
    yield from table_problems(spec)
    yield from model_problems(spec)
    yield from segment_problems(spec)
    yield from _date_problems(spec)
    yield from _maturity_problems(spec)
    yield from _split_problems(spec)
    yield from fitting_problems(spec, spec.learner)
    yield from weight_problems(spec.learner, ("learner",))
    if spec.challenger is not None:
        yield from learner_problems(spec, spec.challenger.learner, ("challenger", "learner"))
        yield from weight_problems(spec.challenger.learner, ("challenger", "learner"))
    yield from grade_problems(spec.grades, amounts=spec.is_amount)
    yield from _fairness_problems(spec)
    yield from _use_problems(spec)
    yield from _test_problems(spec)
    yield from _below(("policy",), policy_problems(spec.policy))


def _below(path: KeyPath, problems: Iterator[Problem]) -> Iterator[Problem]:
    return (replace(problem, path=(*path, *problem.path)) for problem in problems)


def _date_problems(spec: ModelSpec) -> Iterator[Problem]:
    plan, as_of = spec.data, spec.source.as_of
    if plan.time is not None and plan.observed_at is not None:
        yield Problem(
            ("data", "observed_at"),
            "data has both 'time' and 'observed_at'",
            expected="a column or one date, not both",
            got=f"'time: {plan.time}' and 'observed_at: {plan.observed_at}'",
        )
    if plan.observed_at is not None and as_of is not None and plan.observed_at > as_of:
        yield Problem(
            ("data", "observed_at"),
            "the observation date lies after the source's as-of date",
            expected=f"a date up to {as_of}",
            got=plan.observed_at,
        )
    if spec.decide_by is not None and spec.decide_by < spec.as_of:
        yield Problem(
            ("decide_by",),
            "the decision would be due before the data were taken",
            expected=f"a date from {spec.as_of} on ('as_of')",
            got=spec.decide_by,
        )


def _maturity_problems(spec: ModelSpec) -> Iterator[Problem]:
    path, plan = ("outcome", "maturity", "basis"), spec.data
    needed = {
        "data.time": plan.time or plan.observed_at,
        "outcome.horizon_months": spec.outcome.horizon_months,
        "source.as_of": spec.source.as_of,
    }
    absent = [name for name, value in needed.items() if value is None]
    if spec.outcome.maturity.basis == "dates" and absent:
        yield Problem(
            path,
            "label maturity has 'basis: dates' and no dates to judge by",
            expected="data.time (or observed_at), outcome.horizon_months and source.as_of",
            got="missing: " + ", ".join(absent),
            hint="declare them, or 'basis: none' with a note",
        )
    estimated = spec.source.estimated_vintage
    invented = estimated is not None and plan.time == estimated.column
    if spec.outcome.maturity.basis == "none" and not absent and not invented:
        yield Problem(
            path,
            "label maturity has 'basis: none', but the data has dates, a horizon and an as-of date",
            expected="basis: dates",
            got="basis: none",
            hint="set outcome.maturity.basis to 'dates'; 'none' is for data without dates",
        )


def _split_problems(spec: ModelSpec) -> Iterator[Problem]:
    split = spec.split
    if split.calibration + split.holdout >= 1:
        yield Problem(
            ("split", "holdout"),
            "the split leaves nothing to develop on",
            expected="'calibration' + 'holdout' below 1",
            got=f"{split.calibration:g} + {split.holdout:g}",
            hint="lower one of them",
        )
    if split.kind != "out_of_time":
        return
    if spec.data.time is None:
        yield Problem(
            ("split", "kind"),
            "an out-of-time split needs an observation date in every row",
            expected="'data.time' names a date column without gaps",
            got="no 'data.time'",
            hint="declare 'data.time', or use 'split.kind: stratified' or 'grouped'",
        )
    if spec.source.as_of is not None and split.out_of_time_from > spec.source.as_of:
        yield Problem(
            ("split", "out_of_time_from"),
            "the out-of-time sample would begin after the source's as-of date",
            expected=f"a date up to {spec.source.as_of}",
            got=split.out_of_time_from,
        )


def _reason_problems(spec: ModelSpec) -> Iterator[Problem]:
    """A reason that names no input of the model would never be given, silently."""
    known = list(spec.features)
    for code, reason in (spec.decision.reasons if spec.decision is not None else {}).items():
        for index, feature in enumerate(reason.features):
            if feature not in known:
                yield Problem(
                    ("decision", "reasons", code, "features", str(index)),
                    f"reason '{code}' names no input of model '{spec.name}'",
                    expected=one_of(known),
                    got=f"'{feature}'",
                    hint=nearest(feature, known),
                )


def _fairness_problems(spec: ModelSpec) -> Iterator[Problem]:
    if spec.fairness is None:
        return
    yield from _crossing_problems(spec, spec.fairness)
    columns = next((c.columns for c in contracts_of(spec).values() if c.table == spec.data.table), {})
    for name, declared in spec.fairness.attributes.items():
        path = ("fairness", "attributes", name)
        yield from _group_problems(path, name, declared)
        promise = columns.get(declared.column)
        if promise is None:
            continue
        if declared.bands is not None and promise.type not in ("integer", "number"):
            yield Problem(
                (*path, "bands"),
                f"protected attribute '{name}' has bands and is no number",
                expected="a column of type integer or number",
                got=f"type: {promise.type}",
            )
        listed = declared.groups is None and declared.bands is None and promise.allowed is not None
        known = [*(str(value) for value in promise.allowed or ()), declared.undocumented]
        if listed and declared.reference not in known:
            yield _no_reference(path, name, declared.reference, known)


def _crossing_problems(spec: ModelSpec, fairness: Fairness) -> Iterator[Problem]:
    """Protected attributes live apart: never a segment; and an intersection crosses declared ones only."""
    protected = {attribute.column: name for name, attribute in fairness.attributes.items()}
    for index, column in enumerate(spec.data.segments):
        if column in protected:
            yield Problem(
                ("data", "segments", str(index)),
                f"segment '{column}' is the protected attribute '{protected[column]}'",
                expected="segments that are no protected attribute",
                got=f"'{column}'",
                hint="remove it from 'data.segments'; sections F1 to F3 break evidence down by protected group",
            )
    known = list(fairness.attributes)
    for index, pair in enumerate(fairness.intersections):
        for name in pair:
            if name not in known:
                yield Problem(
                    ("fairness", "intersections", str(index)),
                    f"an intersection names no protected attribute: '{name}'",
                    expected=one_of(known),
                    got=f"'{name}'",
                    hint=nearest(name, known),
                )


def _group_problems(path: KeyPath, name: str, declared: Protected) -> Iterator[Problem]:
    if declared.groups is not None and declared.bands is not None:
        yield Problem(
            path, f"protected attribute '{name}' has both 'groups' and 'bands'", expected="one of them", got="both"
        )
    elif declared.bands is not None:
        if not declared.bands or any(low >= high for low, high in pairwise(declared.bands)):
            yield Problem(
                (*path, "bands"),
                f"the bands of protected attribute '{name}' do not ascend",
                expected="lower edges, each above the one before",
                got=", ".join(f"{edge:g}" for edge in declared.bands) or "an empty list",
            )
    elif declared.groups is not None:
        values = [str(value) for group in declared.groups.values() for value in group]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            yield Problem(
                (*path, "groups"),
                f"protected attribute '{name}' puts a value into two groups",
                expected="every value in one group",
                got=", ".join(f"'{value}'" for value in twice),
            )
        known = [*declared.groups, declared.undocumented]
        if declared.reference not in known:
            yield _no_reference(path, name, declared.reference, known)


def _no_reference(path: KeyPath, name: str, reference: str, known: list[str]) -> Problem:
    return Problem(
        (*path, "reference"),
        f"the reference of protected attribute '{name}' is none of its groups",
        expected=one_of(known),
        got=f"'{reference}'",
        hint=nearest(reference, known),
    )


def _use_problems(spec: ModelSpec) -> Iterator[Problem]:
    numeric = [name for name, feature in spec.features.items() if feature.type == "numeric" or feature.levels]
    known = [*live_measures(spec), *numeric]
    for index, limit in enumerate(spec.purpose.limits):
        path = ("purpose", "limits", str(index))
        if limit.measure not in known:
            yield Problem(
                (*path, "measure"),
                f"use limit '{limit.text}' measures '{limit.measure}', which is no numeric input",
                expected=one_of(known),
                got=f"'{limit.measure}'",
                hint=nearest(limit.measure, known),
            )
        if limit.minimum is None and limit.maximum is None:
            yield Problem(
                path, f"use limit '{limit.text}' has no bound", expected="'minimum', 'maximum' or both", got="neither"
            )
        elif limit.minimum is not None and limit.maximum is not None and limit.minimum > limit.maximum:
            yield Problem(
                (*path, "minimum"),
                f"use limit '{limit.text}' has its minimum above its maximum",
                expected="minimum <= maximum",
                got=f"{limit.minimum:g} .. {limit.maximum:g}",
            )


def _test_problems(spec: ModelSpec) -> Iterator[Problem]:
    tests = registered_tests()
    named: list[tuple[KeyPath, str, str]] = [
        (("purpose", "assumptions", str(index), "test"), f"assumption {index + 1}", assumption.test)
        for index, assumption in enumerate(spec.purpose.assumptions)
        if assumption.test is not None
    ]
    for index, limitation in enumerate(spec.limitations):
        path = ("limitations", str(index))
        named += [
            ((*path, "tests", str(place)), f"limitation {index + 1}", test)
            for place, test in enumerate(limitation.tests)
        ]
        if limitation.tests and limitation.expires is None:
            yield Problem(
                (*path, "tests"),
                f"limitation {index + 1} compensates tests without an end",
                expected="'expires', the day until which 'control' compensates them",
                got="no 'expires'",
            )
    for key, what, test in named:
        if test not in tests:
            yield Problem(
                key,
                f"{what} names the unknown test '{test}'",
                expected="a registered test id, such as 'stab.psi'",
                got=f"'{test}'",
                hint=nearest(test, tests) or "see docs/reference/sections.md for the ids",
            )
