"""The records of a validation pack: register rows, blocks, sections, the pack itself.

Everything that a pack prints is one of these values, so that the document is a view of ``pack.json``.
The models publish the JSON Schema (``docs/reference/pack.schema.json``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from countermark.records.digest import digest_of
from countermark.records.lights import Light, worst

Scalar: TypeAlias = bool | int | float | str | None
Format: TypeAlias = Literal[
    "text",  # as it is
    "int",  # 12 345
    "number",  # 4 significant digits
    "share",  # fraction printed as per cent, 2 decimals
    "points",  # fraction printed in percentage points, 2 decimals
    "auc",  # 3 decimals (AUC, Gini, KS)
    "ratio",  # 3 decimals (observed over expected, adverse impact ratio, slope, standardised difference)
    "pvalue",  # 3 decimals, "< 0.001"
    "psi",  # 4 decimals (PSI, information value)
    "score",  # 4 decimals (Brier score and its parts, margins and contributions to them)
    "money",  # thousands separated, no decimals
    "hash",  # first 12 hex digits, monospace
    "light",  # Light value, printed as glyph and word
    "date",  # ISO date
]
SampleRole: TypeAlias = Literal["development", "calibration", "holdout", "out_of_time", "reference", "group", "other"]


class Record(BaseModel):
    """Frozen, closed value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RegisterRow(Record):
    """One test on one sample and segment: a row of the test register (J1).

    The first 29 fields are the register of the validation standard, in its order; ``gating``, ``label``
    and ``format`` say how the row is used and printed.
    """

    test_id: str
    section: str
    kind: str
    segment: str = "all"
    sample: str
    n: int = Field(ge=0)
    events: int | None = None
    statistic: float | None = None
    effect: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_method: str | None = None
    h0: str | None = None
    alternative: str | None = None
    df: float | None = None
    p_raw: float | None = None
    p_adj: float | None = None
    power: float | None = None
    power_alternative: str | None = None
    light: Light
    light_rule: str
    threshold: str | None = None
    threshold_source: str | None = None
    policy_version: str
    previous_value: float | None = None
    n_reason: str | None = None
    data_hash: str
    semantics_ref: str
    seed: int | None = None
    gating: bool = False
    label: str
    format: Format = "number"

    @model_validator(mode="after")
    def _not_evaluated_has_reason(self) -> RegisterRow:
        if self.light is Light.NOT_EVALUATED and not self.n_reason:
            raise ValueError("a row that is Not evaluated needs 'n_reason'")
        return self


class Column(Record):
    """One column of a printed table."""

    key: str
    label: str
    format: Format = "text"


class Table(Record):
    """A table. ``rows`` hold at most the printed rows; ``total_rows`` counts them all."""

    type: Literal["table"] = "table"
    id: str = Field(description="Per section, 'E1-T1'.")
    caption: str = Field(description="The claim, then the sample.")
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Scalar], ...]
    total_rows: int | None = None
    empty: str | None = Field(default=None, description="Printed instead of a table without rows.")


class Series(Record):
    """One series of a figure. ``low``/``high`` are interval ends; ``n`` counts behind each point."""

    name: str
    role: SampleRole = "other"
    mark: Literal["line", "points", "bars", "area", "step"] = "line"
    x: tuple[float | str, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    n: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _same_length(self) -> Series:
        for name in ("y", "low", "high", "n"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.x):
                raise ValueError(f"'{name}' has {len(values)} values, 'x' has {len(self.x)}")
        return self


class ReferenceLine(Record):
    """A straight line that a figure is read against: a limit, parity, the diagonal."""

    axis: Literal["x", "y", "diagonal"]
    value: float | None = None
    label: str


class Figure(Record):
    """A figure as data. The chart room draws it; nothing that is drawn is missing here.

    ``chart``: ``xy`` (series over a numeric or categorical x), ``bars`` (horizontal bars, x = length,
    y is ignored for the label: use ``x`` as categories and ``y`` as lengths), ``forest`` (categories in
    ``x``, point and interval in ``y``/``low``/``high``), ``heatmap`` (``rows`` x ``columns`` of ``cells``;
    ``y_label`` names what a cell holds), ``waterfall`` (categories in ``x``, signed steps in ``y``),
    ``matrix`` (the 3x3 tier matrix; the cell with value 1 is marked), ``flow`` (boxes in order with counts;
    a second series is what the last box is divided into).
    """

    type: Literal["figure"] = "figure"
    id: str = Field(description="Per section, 'E1-F1'.")
    chart: Literal["xy", "bars", "forest", "heatmap", "waterfall", "matrix", "flow"]
    caption: str = Field(description="The claim, then the sample.")
    alt: str = Field(min_length=20, description="Trend and key values in words.")
    x_label: str = ""
    y_label: str = ""
    x_scale: Literal["linear", "log"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"
    x_format: Format = "number"
    y_format: Format = "number"
    series: tuple[Series, ...] = ()
    lines: tuple[ReferenceLine, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[tuple[float | None, ...], ...] = ()
    cell_notes: tuple[tuple[str, ...], ...] = ()
    size: Literal["full", "half"] = "full"


class Paragraph(Record):
    """Plain prose of the tool, one paragraph, no markup."""

    type: Literal["text"] = "text"
    text: str


class Narrative(Record):
    """Prose that people wrote in conf/model/NAME.md, or the open question if they have not."""

    type: Literal["narrative"] = "narrative"
    key: str
    question: str
    markdown: str | None = Field(description="None: unanswered, and printed as unanswered.")


class Fact(Record):
    """One labelled value."""

    label: str
    value: Scalar
    format: Format = "text"


class Facts(Record):
    """A list of labelled values, printed as a two-column table."""

    type: Literal["facts"] = "facts"
    id: str
    caption: str
    facts: tuple[Fact, ...]


Block: TypeAlias = Annotated[Table | Figure | Paragraph | Narrative | Facts, Field(discriminator="type")]


class Finding(Record):
    """Something a reader has to act on. Severity is policy: impact x likelihood x detectability."""

    id: str
    severity: Literal["critical", "high", "medium", "low", "observation"]
    section: str
    evidence_id: str
    fact: str
    why: str
    recommendation: str
    owner: str | None = None
    due: str | None = None
    status: Literal["open", "closed"] = "open"
    opened: str


class Section(Record):
    """One section of the pack with its light and its three-line box."""

    code: str
    title: str
    status: Literal["computed", "not_computed", "not_applicable"] = "computed"
    light: Light
    conclusion: str
    would_change: str | None = None
    so_what: str | None = None
    blocks: tuple[Block, ...] = ()


class KeyNumber(Record):
    """One of the eight numbers of page 2."""

    label: str
    section: str
    test_id: str | None
    value: float | None
    format: Format
    ci_low: float | None = None
    ci_high: float | None = None
    previous: float | None = None
    limit: str | None = None
    light: Light
    note: str | None = None


class Summary(Record):
    """Page 2: one page for a committee."""

    decision_asked: str
    decide_by: str | None
    opinion: Literal["Fit for use", "Fit with conditions", "Not fit", "Unable to conclude"]
    why: tuple[str, ...] = Field(max_length=3)
    conditions: tuple[str, ...]
    change_class: str
    strip: tuple[tuple[str, str, Light], ...] = Field(description="(section code, short title, light)")
    key_numbers: tuple[KeyNumber, ...] = Field(max_length=8)
    gain_over_simple: str
    worst_segment: str
    smallest_detectable: str
    not_evaluated: tuple[str, ...] = Field(description="Gating tests Not evaluated, with their reason.")
    not_computed: tuple[str, ...] = Field(default=(), description="Codes of sections that this build does not compute.")
    as_of: str
    matured_share: str
    restrictions: tuple[str, ...]
    findings_count: dict[str, int]
    top_findings: tuple[str, ...] = Field(max_length=5)
    reproduce: str
    signature_status: str


class Pack(Record):
    """``pack.json``: every number of a validation pack."""

    format: Literal["countermark/pack/1"] = "countermark/pack/1"
    status: Literal["draft"] = "draft"
    identity: dict[str, Scalar]
    digests: dict[str, str]
    as_of: str
    summary: Summary
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]
    register_rows: tuple[RegisterRow, ...]
    policy: dict[str, Any]
    spec: dict[str, Any]
    pack_hash: str = ""

    def sealed(self) -> Pack:
        """The same pack with ``pack_hash`` = SHA-256 of its canonical JSON without that field."""
        return self.model_copy(update={"pack_hash": self.content_hash()})

    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON without ``pack_hash``."""
        return digest_of(self.model_dump(mode="json", exclude={"pack_hash"}))


def section_light(rows: tuple[RegisterRow, ...]) -> Light:
    """Worst gating light; Information where nothing gates."""
    return worst(row.light for row in rows if row.gating)
