"""What the template of a pack prints, made from the records and from nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from markupsafe import Markup

from countermark.charts.svg import shorten, text_width
from countermark.records.evidence import (
    Block,
    Column,
    Facts,
    Figure,
    Finding,
    Narrative,
    Pack,
    Paragraph,
    RegisterRow,
    Scalar,
    Section,
    Table,
)
from countermark.records.formats import NUMERIC, format_interval, format_value
from countermark.report.prose import anchor_of, label_of, linked, markdown_html
from countermark.report.tables import (
    A4,
    FONT_SIZE,
    PADDING,
    SEVERITY_SIGNS,
    Room,
    TableView,
    light_chip,
    table_view,
    text_cell,
)
from countermark.report.text_safety import breakable, printable

REGISTER_CAP = 300
PARTS = {
    "A": "Identity and control",
    "B": "Purpose and governance",
    "C": "Data",
    "D": "Development",
    "E": "Outcomes and performance",
    "F": "Fairness",
    "G": "Explanation",
    "H": "Use and monitoring",
    "I": "Limitations, findings and opinion",
    "J": "Appendices",
}
_EMPTY = Markup("")
_DOUBLE_FROM = 6
_ROW_AIR = 0.55
_SINGLE, _DOUBLE, _SPANNED = (0.28, 0.50), (0.205, 0.27), (0.205, 0.78)
"""Shares of the text width of a label and its value: in a narrow table, in half a row, and alone in a broad row."""
_MOST_FACT_LINES = 2
_CONTENTS_SIZE, _CONTENTS_WIDTH = 8.8, 178.0
_SEVERITY_ORDER = tuple(SEVERITY_SIGNS)


@dataclass(frozen=True, slots=True)
class FactCell:
    """One labelled value; ``span`` columns are taken by the value."""

    label: Markup
    value: Markup
    css: str
    span: int = 1


@dataclass(frozen=True, slots=True)
class BlockView:
    """One block, ready to print. ``facts`` are rows of one or two labelled values."""

    type: str
    id: str = ""
    anchor: str = ""
    label: str = ""
    caption: Markup = _EMPTY
    plain_caption: str = ""
    table: TableView | None = None
    facts: tuple[tuple[FactCell, ...], ...] = ()
    alt: str = ""
    size: str = "full"
    html: Markup = _EMPTY
    empty: Markup = _EMPTY
    question: str = ""
    double: bool = False


@dataclass(frozen=True, slots=True)
class SectionView:
    """One section, ready to print; half-size figures stand in pairs."""

    code: str
    anchor: str
    title: str
    status: str
    light: Markup
    conclusion: Markup
    would_change: Markup
    so_what: Markup
    blocks: tuple[tuple[BlockView, ...], ...]
    findings: tuple[Finding, ...]
    tests: tuple[tuple[str, str], ...]
    last_of_run: bool = False

    @property
    def landscape(self) -> bool:
        """Whether the whole section stands on landscape pages: every table and figure in it is a wide table."""
        evidence = [block for row in self.blocks for block in row if block.type in ("table", "figure", "facts")]
        return bool(evidence) and all(block.table is not None and block.table.wide for block in evidence)

    @property
    def contents_title(self) -> Markup:
        """The title on one line of a column of the contents."""
        return Markup.escape(printable(shorten(self.title, _CONTENTS_SIZE, _CONTENTS_WIDTH)))


@dataclass(frozen=True, slots=True)
class PartView:
    """One lettered part."""

    letter: str
    title: str
    sections: tuple[SectionView, ...]

    @property
    def landscape(self) -> bool:
        """Whether the part opens on a landscape page, so that its heading stands there."""
        return bool(self.sections) and self.sections[0].status == "computed" and self.sections[0].landscape


class PackViews:
    """Turns the sections of one pack into views that know every anchor of the document."""

    def __init__(self, pack: Pack, room: Room = A4) -> None:
        self.pack = pack
        self.room = room
        sections = {anchor_of(s.code) for s in pack.sections}
        blocks = {anchor_of(b.id) for s in pack.sections for b in s.blocks if isinstance(b, Table | Figure | Facts)}
        findings = {anchor_of(f.id) for f in pack.findings}
        self.anchors = frozenset(sections | blocks | findings | {"id-A2", "id-A3"})
        self.register_tests = tuple(dict.fromkeys(row.test_id for row in pack.register_rows[:REGISTER_CAP]))

    def parts(self) -> tuple[PartView, ...]:
        """All parts in pack order; A2 is page 2 itself."""
        letters = tuple(dict.fromkeys(section.code[:1] for section in self.pack.sections))
        parts = []
        for letter in letters:
            own = [
                self.section(s)
                for s in self.pack.sections
                if s.code[:1] == letter and not (s.code in ("A2", "A3") and not s.blocks)
            ]
            parts.append(PartView(letter, PARTS.get(letter, "Further sections"), _marked_runs(own)))
        return tuple(parts)

    def section(self, section: Section) -> SectionView:
        """One section with the findings and tests that belong to it."""
        blocks = [self.block(block) for block in widened(section.blocks)]
        has_table = any(isinstance(block, Table) for block in section.blocks)
        if section.code == "J1" and not has_table:
            blocks.append(self.block(register_table(self.pack.register_rows)))
        if section.code == "I2" and not has_table:
            blocks.append(self.block(findings_table(self.pack.findings)))
        own = tuple(f for f in self.pack.findings if f.section == section.code and section.code != "I2")
        tests = dict.fromkeys(row.test_id for row in self.pack.register_rows if row.section == section.code)
        return SectionView(
            code=section.code,
            anchor=anchor_of(section.code),
            title=section.title,
            status=section.status,
            light=light_chip(section.light),
            conclusion=linked(section.conclusion, self.anchors),
            would_change=linked(section.would_change or "", self.anchors),
            so_what=linked(section.so_what or "", self.anchors),
            blocks=_paired(blocks),
            findings=tuple(sorted(own, key=lambda f: _SEVERITY_ORDER.index(f.severity))),
            tests=tuple((test, self.test_anchor(test)) for test in tests),
        )

    def test_anchor(self, test_id: str) -> str:
        """Anchor of the first printed register row of a test, or of the register."""
        if test_id in self.register_tests:
            return "test-" + anchor_of(test_id)
        return "id-J1" if "id-J1" in self.anchors else ""

    def block(self, block: Block) -> BlockView:
        """One block."""
        if isinstance(block, Paragraph):
            return BlockView("text", html=linked(block.text, self.anchors))
        if isinstance(block, Narrative):
            if block.markdown is None or not block.markdown.strip():
                return BlockView("unanswered", question=block.question)
            return BlockView("narrative", html=markdown_html(block.markdown), question=block.question)
        anchor, label = anchor_of(block.id), label_of(block.id)
        caption = linked(block.caption, self.anchors)
        if isinstance(block, Figure):
            return BlockView("figure", block.id, anchor, label, caption, block.caption, alt=block.alt, size=block.size)
        if isinstance(block, Facts):
            double = _is_double(block, self.room)
            rows = _fact_rows(block, self.room) if double else tuple((fact,) for fact in _facts(block))
            return BlockView("facts", block.id, anchor, label, caption, block.caption, facts=rows, double=double)
        if not block.rows:
            text = breakable(block.empty or "No rows.")
            return BlockView("empty", block.id, anchor, label, caption, block.caption, empty=text)
        view = table_view(block, self.room)
        if block.id.startswith("J1-"):
            view = replace(view, row_ids=self._row_ids(block))
        return BlockView("table", block.id, anchor, label, caption, block.caption, table=view)

    def _row_ids(self, register: Table) -> tuple[str, ...]:
        """The first printed row of each test is where links to the test lead."""
        seen: set[str] = set()
        ids = []
        for row in register.rows:
            test = str(row.get("test_id") or "")
            fresh = test in self.register_tests and test not in seen
            seen.add(test)
            ids.append(f"test-{anchor_of(test)}" if fresh else "")
        return tuple(ids)


def _facts(block: Facts) -> tuple[FactCell, ...]:
    cells = []
    for fact in block.facts:
        if fact.format == "light":
            column = Column(key="v", label="", format="light")
            view = table_view(Table(id="x", caption="", columns=(column,), rows=({"v": fact.value},)))
            cells.append(FactCell(breakable(fact.label), view.rows[0][0].html, "l"))
            continue
        text = format_value(fact.value, fact.format)
        html = Markup.escape(text) if fact.format in NUMERIC else text_cell(text, fact.format)
        cells.append(FactCell(breakable(fact.label), html, "t"))
    return tuple(cells)


def _fact_rows(block: Facts, room: Room) -> tuple[tuple[FactCell, ...], ...]:
    """Two facts a row in their order; a value of several lines, and one left without a neighbour, takes the row."""
    cells = _facts(block)
    rows = (tuple(cells[k] for k in row) for row in _shared_rows(_fact_texts(block), room))
    return tuple(row if len(row) == 2 else (replace(row[0], span=3),) for row in rows)


def _shared_rows(texts: list[tuple[str, str]], room: Room) -> list[list[int]]:
    """Which facts share a row, by their places."""
    rows: list[list[int]] = []
    open_row = False
    for k, pair in enumerate(texts):
        broad = _fact_lines(pair, _DOUBLE, room) > _MOST_FACT_LINES
        if open_row and not broad:
            rows[-1].append(k)
            open_row = False
            continue
        rows.append([k])
        open_row = not broad
    return rows


def _fact_texts(block: Facts) -> list[tuple[str, str]]:
    return [(printable(fact.label), printable(format_value(fact.value, fact.format))) for fact in block.facts]


def _fact_lines(pair: tuple[str, str], shares: tuple[float, float], room: Room) -> int:
    """Lines that a label and its value take in columns of these shares of the text width."""
    inner = (share * room.portrait - PADDING for share in shares)
    return max(math.ceil(text_width(text, FONT_SIZE) * 1.06 / width) for text, width in zip(pair, inner, strict=True))


def widened(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The same blocks; a half-size curve or bar chart that would stand alone takes the whole width."""
    made, k = list(blocks), 0
    while k < len(made):
        block = made[k]
        if isinstance(block, Figure) and block.size == "half":
            after = made[k + 1] if k + 1 < len(made) else None
            if isinstance(after, Figure) and after.size == "half":
                k += 2
                continue
            if block.chart == "xy" and not any(line.axis == "diagonal" for line in block.lines):
                made[k] = block.model_copy(update={"size": "full"})
        k += 1
    return tuple(made)


def _is_double(block: Facts, room: Room) -> bool:
    """Whether two facts share a row: there are several, and the table becomes clearly shorter by it."""
    if len(block.facts) < _DOUBLE_FROM:
        return False
    texts = _fact_texts(block)
    single = sum(_fact_lines(pair, _SINGLE, room) + _ROW_AIR for pair in texts)
    double = 0.0
    for row in _shared_rows(texts, room):
        shares = _DOUBLE if len(row) == 2 else _SPANNED
        double += max(_fact_lines(texts[k], shares, room) for k in row) + _ROW_AIR
    return double < 0.78 * single


def _marked_runs(sections: list[SectionView]) -> tuple[SectionView, ...]:
    """Absent sections stand close together; the last of each run closes the list."""
    following = [*sections[1:], None]
    return tuple(
        replace(one, last_of_run=one.status != "computed" and (after is None or after.status == "computed"))
        for one, after in zip(sections, following, strict=True)
    )


def _paired(blocks: list[BlockView]) -> tuple[tuple[BlockView, ...], ...]:
    """Neighbouring half-size figures share a row."""
    rows: list[tuple[BlockView, ...]] = []
    for block in blocks:
        half = block.type == "figure" and block.size == "half"
        if half and rows and len(rows[-1]) == 1 and rows[-1][0].type == "figure" and rows[-1][0].size == "half":
            rows[-1] = (rows[-1][0], block)
        else:
            rows.append((block,))
    return tuple(rows)


def findings_table(findings: tuple[Finding, ...]) -> Table:
    """All findings, worst first, then oldest."""
    ordered = sorted(findings, key=lambda f: (_SEVERITY_ORDER.index(f.severity), f.opened, f.id))
    columns = (
        ("id", "Id"), ("severity", "Severity"), ("section", "Section"), ("evidence", "Evidence"), ("fact", "Finding"),
        ("why", "Why it matters"), ("recommendation", "Recommendation"), ("owner", "Owner"), ("due", "Due"),
        ("status", "Status"), ("opened", "Opened in"),
    )  # fmt: skip
    rows: list[dict[str, Scalar]] = [
        {
            "id": f.id,
            "severity": f.severity,
            "section": f.section,
            "evidence": f.evidence_id,
            "fact": f.fact,
            "why": f.why,
            "recommendation": f.recommendation,
            "owner": f.owner or "not named",
            "due": f.due or "none",
            "status": f.status,
            "opened": f.opened,
        }
        for f in ordered
    ]
    count = len(findings)
    return Table(
        id="I2-T1",
        caption=f"{count} finding{'' if count == 1 else 's'}, worst first." if count else "Findings of this pack.",
        columns=tuple(Column(key=key, label=label) for key, label in columns),
        rows=tuple(rows),
        empty="No finding is open.",
    )


def register_table(rows: tuple[RegisterRow, ...]) -> Table:
    """The printed part of the register; all 29 columns and all rows are attached as register.csv."""
    columns: tuple[Column, ...] = (
        Column(key="test", label="Test"),
        Column(key="scope", label="Section, gating"),
        Column(key="sample", label="Sample, segment"),
        Column(key="n", label="n", format="int"),
        Column(key="events", label="Events", format="int"),
        Column(key="value", label="Statistic"),
        Column(key="interval", label="95 % interval"),
        Column(key="p", label="p (adjusted)"),
        Column(key="power", label="Power (%)"),
        Column(key="previous", label="Previous"),
        Column(key="light", label="Light", format="light"),
        Column(key="rule", label="Limit, rule, reason"),
    )
    printed: list[dict[str, Scalar]] = [_register_row(row) for row in rows[:REGISTER_CAP]]
    return Table(
        id="J1-T1",
        caption="Every test with sample, count, interval, limit and rule; the full register with its 29 columns is "
        "attached as register.csv.",
        columns=columns,
        rows=tuple(printed),
        total_rows=len(rows),
        empty="The register is empty.",
    )


def _register_row(row: RegisterRow) -> dict[str, Scalar]:
    p = "–" if row.p_raw is None else format_value(row.p_raw, "pvalue")
    if row.p_adj is not None:
        p = f"{p}\u00a0({format_value(row.p_adj, 'pvalue')})"
    reasons = [row.threshold or "no limit", row.light_rule, row.n_reason or ""]
    return {
        "test": f"{row.label} {row.test_id}",
        "scope": f"{row.section}, {'gating' if row.gating else 'not gating'}",
        "sample": row.sample.replace("_", " ") + ("" if row.segment == "all" else f", {row.segment}"),
        "n": row.n,
        "events": row.events,
        "value": format_value(row.statistic, row.format),
        "interval": format_interval(row.ci_low, row.ci_high, row.format),
        "p": p,
        "power": "–" if row.power is None else format_value(row.power, "share", unit=False),
        "previous": format_value(row.previous_value, row.format),
        "light": row.light.value,
        "rule": "; ".join(reason for reason in reasons if reason),
        "test_id": row.test_id,
    }
