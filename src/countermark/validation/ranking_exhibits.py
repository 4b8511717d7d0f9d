"""Figures, tables and claims of E1 that are the same for events and for amounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from countermark.records.evidence import (
    Block,
    Figure,
    Format,
    Paragraph,
    ReferenceLine,
    SampleRole,
    Scalar,
    Series,
    Table,
)
from countermark.validation.inputs import EvidenceInput
from countermark.validation.ranking import Area, AreaT, Measure, OrderT, Pair, Part, Ranking, by_area, inverted_names
from countermark.validation.sentences import between, columns, counted, described, listed, no_trend, printed, rounded
from countermark.validation.series import estimates

_MOST_ROWS = 8
_MOST_FOREST = 20


@dataclass(frozen=True, slots=True)
class PartForm(Generic[AreaT]):
    """What a table of parts prints beside their names and rows.

    Attributes:
        measure: What ranking is measured by.
        cells: Cells of one part by column.
        columns: Key, label and format of these columns.
        thin: Whether a part counts as too small to be judged.
        few: What such a part has, after 'with'.
        enough: What no part has where none is judged, after 'has'.
    """

    measure: Measure
    cells: Callable[[Part[AreaT]], dict[str, Scalar]]
    columns: tuple[tuple[str, str, Format], ...]
    thin: Callable[[Part[AreaT]], bool]
    few: str
    enough: str


def interval_of(area: Area) -> str:
    """The interval of an area as it is printed."""
    return between(area.interval, "auc")


def _judged(parts: Sequence[Part[AreaT]]) -> list[Part[AreaT]]:
    """Parts with an interval and enough rows to be judged; the others stand in the table only."""
    return [part for part in parts if part.area.interval is not None and part.thin is None]


def _series(name: str, role: SampleRole, x: list[str], parts: Sequence[Part[AreaT]]) -> Series:
    values, intervals = [p.area.value for p in parts], [p.area.interval for p in parts]
    return estimates(name, x, values, intervals, role=role, n=[p.n for p in parts])


def _rows_of(part: Part[Any]) -> str:
    """'N = 120, D = 9': rows of a part and, where there are any to count, events."""
    rows = f"N = {printed(part.n, 'int')}"
    return rows if part.events is None else f"{rows}, D = {printed(part.events, 'int')}"


def _segment_figure(
    figure_id: str, inputs: EvidenceInput, measure: Measure, found: Ranking[AreaT, OrderT]
) -> Figure | None:
    """The area of every segment that may be judged beside that of the whole test sample."""
    known = _judged(found.segments)
    if not known:
        return None
    shown = sorted(known, key=by_area)[:_MOST_FOREST]
    low, best = shown[0], max(known, key=by_area)
    whole, name = found.areas[inputs.test.role], measure.name
    cut = "" if len(shown) == len(known) else f"; the {len(shown)} lowest of {len(known)} are drawn"
    return Figure(
        id=figure_id, chart="forest",
        caption=f"Ranking is weakest in {low.column} {low.level}{low.mark}: {name} {printed(low.area.value, 'auc')}, "
        f"{interval_of(low.area)} ({described(inputs.test)}{measure.method}{cut}).",
        alt=(
            f"{name} with interval of {counted(len(shown), 'segment')}, from {printed(low.area.value, 'auc')} in "
            f"{low.name} (N = {printed(low.n, 'int')}) to {printed(best.area.value, 'auc')} in {best.name} "
            f"(N = {printed(best.n, 'int')}); whole sample {printed(whole.value, 'auc')}."
        ),
        x_label=name, x_format="auc", y_format="auc",
        series=(_series(name, inputs.test.role, [p.name for p in shown], shown),),
        lines=(
            ReferenceLine(axis="x", value=0.5, label="chance"),
            ReferenceLine(axis="x", value=rounded(whole.value), label="whole sample"),
        ),
    )  # fmt: skip


def _vintage_figure(
    figure_id: str, inputs: EvidenceInput, measure: Measure, vintages: Sequence[Part[AreaT]]
) -> Figure | None:
    """The area over time; one vintage is no trend."""
    known = _judged(vintages)
    if len(known) < 2:
        return None
    low, name = min(known, key=by_area), measure.name
    return Figure(
        id=figure_id, chart="xy", size="half",
        caption=f"Lowest vintage {low.level}: {name} {printed(low.area.value, 'auc')}, {interval_of(low.area)} "
        f"({described(inputs.test)}{measure.method}).",
        alt=(
            f"{name} by vintage, {known[0].level} to {known[-1].level}: first {printed(known[0].area.value, 'auc')}, "
            f"last {printed(known[-1].area.value, 'auc')}, lowest {printed(low.area.value, 'auc')} in {low.level} "
            f"({_rows_of(low)})."
        ),
        x_label="Vintage", y_label=name, x_format="text", y_format="auc",
        series=(_series(inputs.test.label, inputs.test.role, [p.level for p in known], known),),
        lines=(ReferenceLine(axis="y", value=0.5, label="chance"),),
    )  # fmt: skip


def _part_table(
    table_id: str, kind: str, inputs: EvidenceInput, parts: tuple[Part[AreaT], ...], form: PartForm[AreaT]
) -> Table:
    """Parts with their areas: vintages in time where all have room, else the weakest first."""
    cut = len(parts) > _MOST_ROWS
    shown = parts if kind == "vintage" and not cut else sorted(parts, key=by_area)
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {"column": p.column, "level": p.level, "n": p.n, **form.cells(p)} for p in shown[:_MOST_ROWS]
    )
    known, thin = sorted(_judged(parts), key=by_area), sum(form.thin(p) for p in parts)
    claim = f"No {kind} has {form.enough}, so none is judged"
    if known:
        ends = (printed(part.area.value, "auc") for part in (known[0], known[-1]))
        claim = f"{form.measure.name} lies between {' and '.join(ends)}"
        claim += f"; {counted(thin, kind)} with {form.few} not judged" if thin else ""
        claim += "; the lowest are printed" if cut else ""
    return Table(
        id=table_id,
        caption=f"{claim} ({described(inputs.test)}).",
        columns=columns(("column", "By", "text"), ("level", "Level", "text"), ("n", "N", "int"), *form.columns),
        rows=rows,
        total_rows=len(parts),
    )


def part_blocks(
    inputs: EvidenceInput, found: Ranking[AreaT, OrderT], form: PartForm[AreaT], figures: tuple[str, str]
) -> tuple[Block | None, ...]:
    """Figure and table of segments, then of vintages.

    Args:
        inputs: The evidence input.
        found: Everything E1 measured.
        form: What a table of parts prints.
        figures: Id of the figure of segments, and of that of vintages.
    """
    segments, vintages = found.segments, found.vintages
    return (
        _segment_figure(figures[0], inputs, form.measure, found),
        _part_table("E1-T2", "segment", inputs, segments, form) if segments else None,
        _vintage_figure(figures[1], inputs, form.measure, vintages),
        _part_table("E1-T3", "vintage", inputs, vintages, form)
        if len(vintages) > 1
        else Paragraph(text=no_trend([p.level for p in vintages], "ranking")),
    )


def order_claim(measure: Measure, pairs: Sequence[Pair[OrderT]]) -> str:
    """Whether grades or pools are in order, at the head of a caption."""
    inverted = inverted_names(pairs)
    if inverted:
        return f"{measure.band.capitalize()}s {listed(inverted)} are inverted"
    if any(p.test.reason is None for p in pairs):
        return f"No pair of neighbouring {measure.band}s is inverted"
    return f"The order of {measure.band}s cannot be seen"


def verdict(pair: Pair[OrderT] | None) -> str | None:
    """How a grade or pool stands to the one before it, in words; None where there is none to compare with."""
    if pair is None:
        return None
    if pair.test.reason is not None:
        return pair.test.reason
    return "inverted" if pair.test.inverted else "in order"
