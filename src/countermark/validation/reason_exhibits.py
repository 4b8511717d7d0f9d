"""Tables and figures of G2. They name cases by number and print contributions, never the values of a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.intervals import wilson_interval
from countermark.records.evidence import Block, Fact, Facts, Figure, Paragraph, Scalar, Series, Table
from countermark.scoring.decision import NO_ADVERSE_FACTOR, ReasonMap
from countermark.validation.inputs import EvidenceInput
from countermark.validation.sentences import between, columns, counted, described, listed, printed, rounded
from countermark.validation.series import estimates

_CASES = (("declined", 4), ("approved", 3), ("borderline", 3))
_MOST_REASONS = 15
_MOST_GROUPS = 8
_HALF_GROUPS = 3
"""Groups that a half-size figure names in full."""


class ExplainedCases(Protocol):
    """What the exhibits need to know of the explained sample."""

    @property
    def reasons(self) -> ReasonMap: ...
    @property
    def totals(self) -> NDArray[np.float64]: ...
    @property
    def ranked(self) -> NDArray[np.int64]: ...
    @property
    def declined(self) -> NDArray[np.bool_]: ...
    @property
    def start(self) -> float: ...
    @property
    def unexplained(self) -> int: ...


def policy_blocks(inputs: EvidenceInput, mapped: ReasonMap) -> list[Block]:
    """The reason policy, and the map of codes, texts and inputs."""
    policy = inputs.spec.decision_policy
    facts = (
        Fact(label="Decision policy", value=f"{policy.name} {policy.version}"),
        Fact(label=f"'{policy.unfavourable}' at a probability of", value=policy.cutoff, format="share"),
        Fact(label="Reference", value=f"mean contribution of development cases with the outcome '{policy.favourable}'"),
        Fact(label="Reasons given at most", value=policy.max_reasons, format="int"),
        Fact(label="Order", value="largest sum of contributions first, equal sums by code; positive sums alone"),
        Fact(label="Where nothing is adverse", value=f"'{NO_ADVERSE_FACTOR}', and a finding"),
    )
    test = inputs.test
    names = [item.name for item in inputs.scorer.inputs]
    rows: list[dict[str, Scalar]] = []
    for k, code in enumerate(mapped.codes):
        own = [n for n, c in zip(names, mapped.of_input, strict=True) if c == k]
        rows.append({"code": code, "text": mapped.texts[k], "inputs": ", ".join(own) or "none that is scored"})
    rows += [{"code": "none", "text": "(no reason text)", "inputs": name} for name in mapped.uncovered]
    covered = len(names) - mapped.faults
    extra = f"; {listed(mapped.unknown)} named but not scored" if mapped.unknown else ""
    twice = f"; {listed(mapped.ambiguous)} under more than one code" if mapped.ambiguous else ""
    return [
        Facts(id="G2-T1", caption="How reasons are chosen.", facts=facts),
        Table(
            id="G2-T2",
            caption=f"{covered} of {counted(len(names), 'scored input')} have exactly one reason code{extra}{twice} "
            f"({described(test)}).",
            columns=columns(("code", "Code", "text"), ("text", "Text shown to the customer", "text"),
                            ("inputs", "Inputs", "text")),
            rows=tuple(rows),
            empty="The decision policy declares no reasons.",
        ),
    ]  # fmt: skip


def case_blocks(inputs: EvidenceInput, found: ExplainedCases, checks: Sequence[tuple[str, int, int]]) -> list[Block]:
    """Checks, worked cases, waterfalls and frequencies."""
    cases = worked_cases(inputs, found)
    blocks: list[Block] = [_check_table(inputs, checks), _case_table(inputs, found, cases)]
    for number, kind in enumerate(kind for kind, _ in _CASES):
        first = next(((k, row) for k, (name, row) in enumerate(cases, start=1) if name == kind), None)
        if first is not None:
            blocks.append(_waterfall(inputs, found, (f"G2-F{number + 1}", kind), first))
    if found.declined.any():
        blocks += [_frequency_figure(inputs, found), _frequency_table(inputs, found), *_group_figures(inputs, found)]
    blocks.append(
        Paragraph(
            text="Worked cases are numbered, not named: they show contributions and reasons, and no value of a person. "
            "A case of a person overriding the model is not among them, because the data records no overrides."
        )
    )
    return blocks


def worked_cases(inputs: EvidenceInput, found: ExplainedCases) -> list[tuple[str, int]]:
    """Ten cases (kind, row): spread over the declined, the approved and those nearest to the cut-off."""
    p = inputs.test.p
    near = np.argsort(np.abs(p - inputs.spec.decision_policy.cutoff), kind="stable")[: _CASES[2][1]]
    taken = set(near.tolist())
    chosen: list[tuple[str, int]] = []
    for kind, count in _CASES[:2]:
        pool = np.flatnonzero(found.declined if kind == "declined" else ~found.declined)
        pool = pool[~np.isin(pool, near)]
        order = pool[np.argsort(-p[pool], kind="stable")]
        if order.size:
            at = np.unique(np.linspace(0, order.size - 1, min(count, order.size)).round().astype(np.int64))
            chosen += [(kind, int(row)) for row in order[at]]
    return chosen + [("borderline", row) for row in sorted(taken, key=lambda r: (-p[r], r))]


def _given(found: ExplainedCases, row: int) -> list[str]:
    """Reason codes of a case with their worth."""
    return [f"{found.reasons.codes[k]} ({_signed(float(found.totals[row, k]))})" for k in found.ranked[row] if k >= 0]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _check_table(inputs: EvidenceInput, checks: Sequence[tuple[str, int, int]]) -> Table:
    words = {
        "fidelity": "Risk falls when the inputs of the top reason come from favourable cases",
        "stability": "Top reason stays when numeric inputs move by 1 % of their standard deviation",
    }
    rows: list[dict[str, Scalar]] = []
    for name, held, checked in checks:
        got = wilson_interval(checked, held, confidence=inputs.spec.policy.confidence)
        rows.append(
            {"check": words[name], "cases": checked, "held": held, "share": rounded(got.rate),
             "interval": between(got.interval, "share")}
        )  # fmt: skip
    name, held, checked = checks[0]
    claim = f"The top reason carries the risk in {held} of {counted(checked, 'case')} that were checked"
    return Table(
        id="G2-T3",
        caption=f"{claim} ({described(inputs.test)}; intervals are Wilson).",
        columns=columns(("check", "Check", "text"), ("cases", "Cases", "int"), ("held", "Held", "int"),
                        ("share", "Share", "share"), ("interval", "Interval", "text")),
        rows=tuple(rows),
    )  # fmt: skip


def _case_table(inputs: EvidenceInput, found: ExplainedCases, cases: list[tuple[str, int]]) -> Table:
    policy, test = inputs.spec.decision_policy, inputs.test
    rows: list[dict[str, Scalar]] = []
    for number, (kind, row) in enumerate(cases, start=1):
        declined = bool(found.declined[row])
        texts = [found.reasons.texts[k] for k in found.ranked[row] if k >= 0]
        rows.append(
            {
                "case": number, "kind": kind, "p": rounded(float(test.p[row])),
                "grade": test.grade_names[int(test.grade[row])],
                "outcome": policy.unfavourable if declined else policy.favourable,
                "codes": ", ".join(_given(found, row)) or NO_ADVERSE_FACTOR,
                "texts": ("; ".join(texts) or NO_ADVERSE_FACTOR) if declined else "none is sent",
            }
        )  # fmt: skip
    counts = listed([counted(sum(k == kind for k, _ in cases), f"{kind} case") for kind, _ in _CASES])
    return Table(
        id="G2-T4",
        caption=f"Worked cases: {counts}; in brackets what a reason adds to the margin ({described(test)}).",
        columns=columns(
            ("case", "Case", "int"), ("kind", "Kind", "text"), ("p", "Probability", "share"),
            ("grade", "Grade", "text"), ("outcome", "Outcome", "text"), ("codes", "Reasons", "text"),
            ("texts", "Text sent", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _waterfall(inputs: EvidenceInput, found: ExplainedCases, name: tuple[str, str], case: tuple[int, int]) -> Figure:
    (figure, kind), (number, row) = name, case
    totals = found.totals[row]
    order = np.argsort(-np.abs(totals), kind="stable")
    shown, rest = order[:8], order[8:]
    steps = [("average favourable case", found.start)]
    steps += [(f"{found.reasons.codes[k]} {found.reasons.texts[k]}"[:48], float(totals[k])) for k in shown]
    margin = float(inputs.test.margin[row])
    left = margin - sum(value for _, value in steps)
    if rest.size or abs(left) > 1e-9:
        steps.append(("other inputs", left))
    largest = steps[1] if len(steps) > 1 else steps[0]
    words = inputs.spec.decision_policy
    outcome = words.unfavourable if found.declined[row] else words.favourable
    return Figure(
        id=figure, chart="waterfall", size="half",
        caption=f"Case {number}, {kind}: '{largest[0]}' moves the score most "
        f"({described(inputs.test)}; one case).",
        alt=f"Waterfall of case {number} ({outcome}) from the margin of an average favourable case, "
        f"{printed(found.start, 'number')}, to {printed(margin, 'number')}: "
        + ", ".join(f"{label} {_signed(value)}" for label, value in steps[1:5]) + ".",
        y_label="Margin",
        series=(Series(name="margin", role=inputs.test.role, mark="bars", x=tuple(label for label, _ in steps),
                       y=tuple(rounded(value) for _, value in steps)),),
    )  # fmt: skip


def _cited(found: ExplainedCases, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of the rows are given each reason."""
    given = found.ranked[rows]
    return np.bincount(given[given >= 0], minlength=len(found.reasons.codes))


def _frequency_figure(inputs: EvidenceInput, found: ExplainedCases) -> Figure:
    n = int(found.declined.sum())
    counts = _cited(found, found.declined)
    order = np.argsort(-counts, kind="stable")[:_MOST_REASONS]
    bounds = [wilson_interval(n, int(counts[k]), confidence=inputs.spec.policy.confidence) for k in order]
    lead = int(order[0])
    share = printed(bounds[0].rate, "share")
    return Figure(
        id="G2-F4", chart="bars", size="half",
        caption=f"{found.reasons.codes[lead]} is given to {share} of declined cases "
        f"({described(inputs.test)}, {printed(n, 'int')} declined; Wilson).",
        alt=f"Bars of the share of {printed(n, 'int')} declined cases that are given each reason, from "
        f"{found.reasons.codes[lead]} at {share} to {found.reasons.codes[int(order[-1])]} at "
        f"{printed(bounds[-1].rate, 'share')}.",
        x_label="Share of declined cases", y_format="share",
        series=(
            estimates(
                "given", [f"{found.reasons.codes[k]} {found.reasons.texts[k]}"[:60] for k in order],
                [b.rate for b in bounds], [b.interval for b in bounds], role=inputs.test.role,
                n=[int(counts[k]) for k in order], mark="bars",
            ),
        ),
    )  # fmt: skip


def _frequency_table(inputs: EvidenceInput, found: ExplainedCases) -> Table:
    n = int(found.declined.sum())
    cited = _cited(found, found.declined)
    top = found.ranked[found.declined, 0]
    first = np.bincount(top[top >= 0], minlength=len(found.reasons.codes))
    rows: list[dict[str, Scalar]] = [
        {
            "code": code,
            "text": found.reasons.texts[k],
            "first": rounded(first[k] / n),
            "given": rounded(cited[k] / n),
            "cases": int(cited[k]),
        }
        for k, code in enumerate(found.reasons.codes)
    ]
    rows.append(
        {"code": "none", "text": NO_ADVERSE_FACTOR, "first": rounded(found.unexplained / n), "given": None,
         "cases": found.unexplained}
    )  # fmt: skip
    return Table(
        id="G2-T5",
        caption=f"{_unexplained(found)} ({described(inputs.test)}, {printed(n, 'int')} declined).",
        columns=columns(("code", "Code", "text"), ("text", "Text", "text"), ("first", "Given first", "share"),
                        ("given", "Given at all", "share"), ("cases", "Cases", "int")),
        rows=tuple(rows),
    )  # fmt: skip


def _unexplained(found: ExplainedCases) -> str:
    if not found.unexplained:
        return "Every declined case has an adverse factor"
    return f"{counted(found.unexplained, 'declined case has', 'declined cases have')} no adverse factor"


def _group_figures(inputs: EvidenceInput, found: ExplainedCases) -> list[Block]:
    """Share of each group's declined cases that are given each reason, by protected attribute."""
    blocks: list[Block] = []
    for attribute in sorted(inputs.test.protected):
        values = np.array([str(v) for v in inputs.test.protected[attribute]], dtype=np.str_)
        names: list[str] = []
        counts: list[NDArray[np.int64]] = []
        shares: list[NDArray[np.float64]] = []
        for name in np.unique(values[found.declined]).tolist():
            rows = found.declined & (values == name)
            n = int(rows.sum())
            if n >= inputs.spec.policy.minimum_group:
                names.append(f"{name} (N = {printed(n, 'int')})")
                counts.append(_cited(found, rows))
                shares.append(counts[-1] / n)
        if len(names) < 2:
            continue
        names, shares = names[:_MOST_GROUPS], shares[:_MOST_GROUPS]
        matrix = np.column_stack(shares)
        order = np.argsort(-matrix.max(axis=1), kind="stable")[:_MOST_REASONS]
        gaps = matrix.max(axis=1) - matrix.min(axis=1)
        worst = int(np.argmax(gaps))
        notes = tuple(tuple(f"n = {int(c[k])}" for c in counts[:_MOST_GROUPS]) for k in order)
        code, gap = found.reasons.codes[worst], printed(float(gaps[worst]), "points")
        blocks.append(
            Figure(
                id=f"G2-F{5 + len(blocks)}", chart="heatmap", size="half" if len(names) <= _HALF_GROUPS else "full",
                caption=f"Reasons differ most for {code} between groups of {attribute}, by {gap} "
                f"({described(inputs.test)}; declined cases).",
                alt=f"Heat map of the share of declined cases given each reason by group of {attribute}: "
                f"{listed(names)}. The largest gap is {gap}, for {code}.",
                x_label=attribute, y_label="Share of declined", y_format="share",
                rows=tuple(f"{found.reasons.codes[k]} {found.reasons.texts[k]}"[:48] for k in order),
                columns=tuple(names),
                cells=tuple(tuple(rounded(float(v)) for v in matrix[k]) for k in order),
                cell_notes=notes,
            )
        )  # fmt: skip
    return blocks
