"""What E1 says alike of a score that ranks events and of an estimate that ranks amounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.discrimination import auc_deterioration
from countermark.metrics.multiplicity import holm
from countermark.metrics.power import Detectable, detectable_auc_drop
from countermark.records.evidence import Block, RegisterRow, SampleRole
from countermark.records.lights import Light
from countermark.validation.bands import band_segments, levels_of
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import between, interval_numbers, level, listed, printed, rounded

SECTION = "E1"
ROLES: tuple[SampleRole, ...] = ("development", "holdout", "out_of_time")
SE_SEGMENT = "standard error"
"""Segment under which the standard error is registered, so that a later pack can use it as the initial one."""
PROPOSED = " (quartile of development, proposed by the tool)"
"""What is said of a band that the tool chose because the spec declares no usable segment."""


class Area(Protocol):
    """An AUC of events or a generalised AUC of amounts."""

    @property
    def value(self) -> float | None:
        """The area; None if undefined."""

    @property
    def se(self) -> float | None:
        """Its standard error."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its interval."""

    @property
    def reason(self) -> str | None:
        """Why the area or its interval is None, or degenerate."""


class Order(Protocol):
    """A comparison of two neighbouring grades or pools."""

    @property
    def p_inversion(self) -> float | None:
        """The p-value of H0 "the order is right"."""

    @property
    def inverted(self) -> bool:
        """Whether the order is wrong as observed."""

    @property
    def reason(self) -> str | None:
        """Why it is undefined."""


AreaT = TypeVar("AreaT", bound=Area)
OrderT = TypeVar("OrderT", bound=Order)


@dataclass(frozen=True, slots=True)
class Measure:
    """What ranking is measured by, and the words that go with it.

    Attributes:
        name: 'AUC' of events, 'gAUC' of amounts.
        test: Test id of the area.
        against_initial: Test id, and limit, of the area against that of the last published release.
        source: Source of that test as its label ends.
        initial_gates: Whether that test follows the gating table; False: it never gates.
        model: What ranks: 'score', 'estimate'.
        band: What a band of it is called: 'grade', 'pool'.
        few: Of what a part has too few to be judged: 'events', 'rows'.
        method: Method of the intervals as a caption ends.
        change: What would change the conclusion.
        weak: What it means to be the weakest part.
    """

    name: str
    test: str
    against_initial: str
    source: str
    initial_gates: bool
    model: str
    band: str
    few: str
    method: str
    change: str
    weak: str


def part_name(column: str, level: str, proposed: bool) -> str:
    """Name of a part as the register holds it: 'region=north', or 'income band 1 to 2' of what nobody declared."""
    return f"{column} {level}" if proposed else f"{column}={level}"


@dataclass(frozen=True, slots=True)
class Part(Generic[AreaT]):
    """Ranking of one part of a sample: a segment, a vintage.

    Attributes:
        column: What the sample is cut by.
        level: Which part it is.
        n: Rows.
        area: The area within the part.
        thin: Why it must not be judged; None if it may be.
        events: Events among the rows; None of amounts.
        mean: Mean realised amount; None of events.
        proposed: A band of an input, which nobody declared.
    """

    column: str
    level: str
    n: int
    area: AreaT
    thin: str | None
    events: int | None = None
    mean: float | None = None
    proposed: bool = False

    @property
    def name(self) -> str:
        """Name as the register holds it."""
        return part_name(self.column, self.level, self.proposed)

    @property
    def mark(self) -> str:
        """What is added to its name where nobody declared it."""
        return PROPOSED if self.proposed else ""


@dataclass(frozen=True, slots=True)
class Pair(Generic[OrderT]):
    """Two neighbouring grades or pools, the better or lower one first, with the adjusted p of their inversion."""

    low: str
    high: str
    test: OrderT
    p_adjusted: float | None


@dataclass(frozen=True, slots=True)
class Ranking(Generic[AreaT, OrderT]):
    """Everything E1 measured.

    Attributes:
        areas: The area of every sample, by role.
        segments: Declared segments of the test sample, and bands where none of them can be used.
        vintages: Vintages of the test sample.
        pairs: Neighbouring grades or pools.
        weakest: The segment with the lowest area among those that may be judged; None if there is none.
    """

    areas: Mapping[SampleRole, AreaT]
    segments: tuple[Part[AreaT], ...]
    vintages: tuple[Part[AreaT], ...]
    pairs: tuple[Pair[OrderT], ...]
    weakest: Part[AreaT] | None


def ranking_of(
    inputs: EvidenceInput,
    areas: Mapping[SampleRole, AreaT],
    pairs: tuple[Pair[OrderT], ...],
    measured: Callable[[str, str, NDArray[np.bool_], bool], Part[AreaT]],
    usable: Callable[[Part[AreaT]], bool],
) -> Ranking[AreaT, OrderT]:
    """Cut the test sample by segment and vintage, and by bands of two inputs where no segment can be used.

    Args:
        inputs: The evidence input.
        areas: The area of every sample, by role.
        pairs: Neighbouring grades or pools.
        measured: The part of a column and a level, from the rows inside (n,) and whether it is proposed.
        usable: Whether a part may be called the weakest.
    """

    def parts(columns: Mapping[str, NDArray[Any]], proposed: bool = False) -> tuple[Part[AreaT], ...]:
        return tuple(measured(column, name, inside, proposed) for column, name, inside in levels_of(columns))

    test = inputs.test
    segments = parts(test.segments)
    if not any(usable(part) for part in segments):
        segments += parts(band_segments(inputs), True)
    vintages = () if test.vintage is None else parts({"vintage": test.vintage})
    weakest = min((part for part in segments if usable(part)), key=by_area, default=None)
    return Ranking(areas, segments, vintages, pairs, weakest)


def by_area(part: Part[AreaT]) -> tuple[float, str]:
    """Key that sorts parts from the weakest to the strongest; those without an area come last."""
    return (2.0 if part.area.value is None else part.area.value, part.name)


def neighbours(names: Sequence[str], found: Sequence[tuple[int, int, OrderT]]) -> tuple[Pair[OrderT], ...]:
    """Comparisons of neighbours by position, with the p of inversion adjusted over those that have one (Holm)."""
    raw = [test.p_inversion for _, _, test in found if test.p_inversion is not None]
    adjusted = iter(holm(np.array(raw)).tolist())
    return tuple(
        Pair(names[low], names[high], test, None if test.p_inversion is None else float(next(adjusted)))
        for low, high, test in found
    )


def most_inverted(pairs: Sequence[Pair[OrderT]]) -> Pair[OrderT] | None:
    """The pair whose inversion is the most significant; None if none has a p."""
    judged = [p for p in pairs if p.p_adjusted is not None]
    return min(judged, key=lambda p: 1.0 if p.p_adjusted is None else p.p_adjusted, default=None)


def inverted_names(pairs: Sequence[Pair[OrderT]]) -> list[str]:
    """'B/C': the neighbours that are in the wrong order."""
    return [f"{p.low}/{p.high}" for p in pairs if p.test.inverted]


def shared_customers(sample: Sample) -> NDArray[np.str_] | None:
    """Customer of each row as text; None where no customer has more than one row, or nobody knows."""
    if sample.entity is None:
        return None
    text = np.array([str(v) for v in sample.entity], dtype=np.str_)
    return None if np.unique(text).size == text.size else text


def no_interval(measure: Measure, area: Area) -> str | None:
    """Why an area without an interval must not be judged."""
    return area.reason or f"the {measure.name} has no interval" if area.interval is None else None


def initial_rows(inputs: EvidenceInput, measure: Measure, area: Area, thin: str | None) -> Iterator[RegisterRow]:
    """The area against that of the last published release on the same kind of sample, where one is known."""
    test, name = inputs.test, measure.name
    rows = {} if inputs.previous is None else inputs.previous.get("rows", {})
    known = (rows.get(f"{measure.test}|{test.role}|{segment}") for segment in ("all", SE_SEGMENT))
    initial, se_initial = (None if value is None else float(value) for value in known)
    got = auc_deterioration(1.0 if initial is None else initial, area.value, area.se, se_initial=se_initial)
    if initial is None:
        thin = f"no {name} of a published release to compare with; the next pack compares with this one"
    forms = [(f"initial {name} taken as known{measure.source}", "all", got.s, got.p)]
    if got.s_both is not None:
        forms.append(("both variances", "both variances", got.s_both, got.p_both))
    for told, segment, s, p in forms:
        gates = measure.initial_gates and initial is not None and segment == "all"
        yield inputs.row(Statistic(
            measure.against_initial, SECTION, f"{name} current against initial, {told}",
            sample=test.role, n=test.n, events=test.events, segment=segment,
            value=None if initial is None else s, judged=p, limit=measure.against_initial,
            effect=None if initial is None or area.value is None else initial - area.value,
            h0="no deterioration", alternative=f"{name} has fallen", p_raw=None if initial is None else p,
            undefined=thin or got.reason, gating=None if gates else False,
        ))  # fmt: skip


def ranking_section(
    inputs: EvidenceInput,
    measure: Measure,
    found: Ranking[AreaT, OrderT],
    rows: tuple[RegisterRow, ...],
    blocks: tuple[Block, ...],
    extras: Mapping[str, Any],
) -> SectionEvidence:
    """E1 in words, from everything it measured."""
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, measure, found, rows),
        would_change=_would_change(inputs, measure, found.areas[inputs.test.role]),
        so_what=_so_what(measure, found.weakest),
        rows=rows,
        blocks=blocks,
        extras=extras,
    )


def _conclusion(
    inputs: EvidenceInput, measure: Measure, found: Ranking[AreaT, OrderT], rows: Sequence[RegisterRow]
) -> str:
    test = inputs.test
    area = found.areas[test.role]
    main = next(r for r in rows if r.test_id == measure.test and r.sample == test.role and r.segment == "all")
    if main.light is Light.NOT_EVALUATED:
        return f"Ranking was not evaluated: {main.n_reason}."
    interval = f"{level(inputs.spec.policy)} interval {between(area.interval, 'auc')}"
    number = f"{measure.name} {printed(area.value, 'auc')} ({interval})"
    if main.light is Light.FAIL:
        return f"The {measure.model} is not shown to rank better than chance: {number} on the {test.label} sample."
    inverted, order = inverted_names(found.pairs), f"no {measure.band} is out of order"
    if inverted:
        order = f"neighbouring {measure.band}s {listed(inverted)} are in the wrong order"
    before = found.areas["development"].value
    drop = "" if before is None else f", against {printed(before, 'auc')} in development"
    return f"The {measure.model} ranks with {number} on the {test.label} sample{drop}; {order}."


def _detectable(inputs: EvidenceInput, area: Area) -> Detectable:
    policy = inputs.spec.policy
    return detectable_auc_drop(area.se, alpha=policy.alpha, power=policy.power.detect_at)


def _would_change(inputs: EvidenceInput, measure: Measure, area: Area) -> str:
    drop, power = _detectable(inputs, area), inputs.spec.policy.power.detect_at
    if drop.value is None:
        return measure.change
    found = f"The smallest fall in {measure.name} that this sample finds with {100 * power:g} % power"
    return f"{measure.change} {found} is {printed(drop.value, 'auc')}."


def _so_what(measure: Measure, weakest: Part[AreaT] | None) -> str:
    if weakest is None:
        return f"No segment has enough {measure.few} to say where the {measure.model} ranks worst."
    bands = "The spec declares no usable segment, so bands of two inputs stand in. " if weakest.proposed else ""
    return (
        f"{bands}Ranking is weakest in {weakest.column} {weakest.level} (N = {printed(weakest.n, 'int')}, "
        f"{measure.name} {printed(weakest.area.value, 'auc')}, interval {between(weakest.area.interval, 'auc')}): "
        f"{measure.weak}"
    )


def ranking_extras(
    inputs: EvidenceInput,
    measure: Measure,
    found: Ranking[AreaT, OrderT],
    counts: Callable[[AreaT], dict[str, int]],
    *,
    nameable: bool,
) -> dict[str, Any]:
    """What page 2 and other sections use of E1.

    Args:
        inputs: The evidence input.
        measure: What ranking is measured by.
        found: Everything E1 measured.
        counts: What is counted behind an area beside its rows.
        nameable: Whether the test sample is large enough for its standard error to be more than a guess.
    """

    def numbers(area: AreaT, n: int) -> dict[str, Any]:
        return {**interval_numbers(area.value, area.interval), "n": n, **counts(area)}

    key, worst = measure.name.lower(), found.weakest
    drop = _detectable(inputs, found.areas[inputs.test.role])
    return {
        key: {role: numbers(area, inputs.samples[role].n) for role, area in found.areas.items()},
        "test_role": inputs.test.role,
        "worst_segment": None
        if worst is None
        else {"name": f"{worst.name}{worst.mark}", **numbers(worst.area, worst.n)},
        f"smallest_detectable_{key}_drop": rounded(drop.value) if nameable else None,
        "smallest_detectable_power": inputs.spec.policy.power.detect_at,
    }
