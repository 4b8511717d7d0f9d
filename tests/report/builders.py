"""A realistic pack with every kind of block, made from a seed and no real data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from countermark.records.evidence import (
    Block,
    Column,
    Fact,
    Facts,
    Figure,
    Finding,
    Format,
    KeyNumber,
    Narrative,
    Pack,
    Paragraph,
    ReferenceLine,
    RegisterRow,
    Scalar,
    Section,
    Series,
    Summary,
    Table,
)
from countermark.records.lights import Light

PASS, WATCH, FAIL = Light.PASS, Light.WATCH, Light.FAIL
OPEN, INFO = Light.NOT_EVALUATED, Light.INFORMATION
DIGEST = "3f1c9a7e5b2d8064af93c1e7d25b6a80914f7c3ed6b258a0e917c4f3b6d2a851"
_RNG_SEED = 20260101


def columns(*triples: tuple[str, str, Format]) -> tuple[Column, ...]:
    return tuple(Column(key=key, label=label, format=style) for key, label, style in triples)


def number(value: float, digits: int = 9) -> float:
    return float(f"{value:.{digits - 1}e}")


def grade_table(identifier: str, rows: int = 9) -> Table:
    rng = np.random.default_rng(_RNG_SEED)
    out: list[dict[str, Scalar]] = []
    for k in range(rows):
        n = int(rng.integers(900, 52_000))
        p = 0.006 * 1.5 ** (k % 9)
        events = int(rng.binomial(n, min(0.9, p * 1.03)))
        light = WATCH if k == 6 else PASS
        out.append(
            {
                "grade": f"{k + 1:02d}",
                "n": n,
                "events": events,
                "pd": number(p),
                "rate": number(events / n),
                "low": number(events / n * 0.94),
                "high": number(events / n * 1.06),
                "p": number(0.0004 if k == 6 else float(rng.uniform(0.06, 0.9))),
                "light": light.value,
            }
        )
    return Table(
        id=identifier,
        caption="Calibration is inside tolerance in 8 of 9 grades; grade 07 under-predicts (2014 out-of-time, "
        "N = 186 241, D = 28 404, intervals are 95 % Jeffreys).",
        columns=columns(
            ("grade", "Grade", "text"),
            ("n", "n", "int"),
            ("events", "Defaults", "int"),
            ("pd", "PD", "share"),
            ("rate", "Default rate", "share"),
            ("low", "95 % low", "share"),
            ("high", "95 % high", "share"),
            ("p", "p (Holm)", "pvalue"),
            ("light", "Light", "light"),
        ),
        rows=tuple(out),
    )


def roc_figure(identifier: str) -> Figure:
    grid = [k / 60 for k in range(61)]
    series = []
    for name, role, power in (
        ("Development", "development", 0.36),
        ("Holdout", "holdout", 0.40),
        ("Out-of-time", "out_of_time", 0.46),
    ):
        y = tuple(number(x**power) for x in grid)
        series.append(Series(name=name, role=role, x=tuple(number(x) for x in grid), y=y))  # type: ignore[arg-type]
    return Figure(
        id=identifier,
        chart="xy",
        caption="Discrimination holds out of time: AUC 0.689 against 0.712 on development "
        "(2014 out-of-time, N = 186 241, D = 28 404).",
        alt="ROC curves of three samples. Development lies highest with AUC 0.712, holdout 0.706, out-of-time 0.689; "
        "all lie well above the diagonal.",
        x_label="False positive rate",
        y_label="True positive rate",
        x_format="share",
        y_format="share",
        series=tuple(series),
        lines=(ReferenceLine(axis="diagonal", label="no skill"),),
        size="half",
    )


def density_figure(identifier: str) -> Figure:
    grid = [k * 0.5 - 6 for k in range(18)]
    good = tuple(number(math.exp(-((x + 2.4) ** 2) / 1.9) / 2.4) for x in grid)
    bad = tuple(number(math.exp(-((x + 1.5) ** 2) / 1.6) / 2.2) for x in grid)
    return Figure(
        id=identifier,
        chart="xy",
        caption="Scores of defaulted loans lie 0.9 logits higher (2014 out-of-time, N = 186 241).",
        alt="Two score densities. Loans that did not default peak near -2.4 logits, loans that defaulted near -1.5.",
        x_label="Score (logit)",
        y_label="Density",
        series=(
            Series(name="No default", role="group", mark="step", x=tuple(grid), y=good),
            Series(name="Default", role="group", mark="step", x=tuple(grid), y=bad),
        ),
        size="half",
    )


def vintage_figure(identifier: str) -> Figure:
    rng = np.random.default_rng(_RNG_SEED + 1)
    names = tuple(f"{2010 + k // 4}Q{k % 4 + 1}" for k in range(20))
    y = tuple(number(float(0.71 - 0.001 * k + rng.normal(0, 0.004))) for k in range(20))
    return Figure(
        id=identifier,
        chart="xy",
        caption="AUC falls by 0.1 points a quarter and stays above 0.68 (all samples, by vintage, 95 % DeLong).",
        alt="AUC by quarter from 2010Q1 to 2014Q4 with intervals. It falls slowly from 0.71 to 0.69; no interval "
        "reaches 0.65.",
        x_label="Vintage",
        y_label="AUC",
        y_format="auc",
        series=(
            Series(
                name="Holdout",
                role="holdout",
                x=names[:14],
                y=y[:14],
                low=tuple(number(v - 0.012) for v in y[:14]),
                high=tuple(number(v + 0.012) for v in y[:14]),
                n=tuple(int(v) for v in rng.integers(1500, 32_000, 14)),
            ),
            Series(
                name="Out-of-time",
                role="out_of_time",
                x=names[14:],
                y=y[14:],
                low=tuple(number(v - 0.009) for v in y[14:]),
                high=tuple(number(v + 0.009) for v in y[14:]),
                n=tuple(int(v) for v in rng.integers(20_000, 52_000, 6)),
            ),
        ),
        lines=(ReferenceLine(axis="y", value=0.65, label="policy floor 0.650"),),
    )


def reliability_figure(identifier: str) -> Figure:
    bins = [0.012, 0.028, 0.047, 0.071, 0.098, 0.131, 0.172, 0.226, 0.301, 0.412]
    rate = [0.011, 0.029, 0.045, 0.074, 0.101, 0.128, 0.191, 0.231, 0.296, 0.405]
    return Figure(
        id=identifier,
        chart="xy",
        caption="Predicted and observed default rates agree within 2 points in all ten bins "
        "(2014 out-of-time, N = 186 241, bars are 95 % Wilson).",
        alt="Reliability plot with ten bins. Points follow the diagonal; the seventh bin lies 1.9 points above it.",
        x_label="Predicted PD",
        y_label="Observed default rate",
        x_format="share",
        y_format="share",
        series=(
            Series(
                name="Out-of-time",
                role="out_of_time",
                mark="points",
                x=tuple(bins),
                y=tuple(rate),
                low=tuple(number(v * 0.95) for v in rate),
                high=tuple(number(v * 1.05) for v in rate),
                n=(18624, 18624, 18624, 18624, 18624, 18624, 18624, 18624, 18624, 18625),
            ),
            Series(name="PAV curve", role="reference", mark="step", x=tuple(bins), y=tuple(rate)),
        ),
        lines=(ReferenceLine(axis="diagonal", label="perfect calibration"),),
    )


def grade_figure(identifier: str) -> Figure:
    names = tuple(f"{k + 1:02d}" for k in range(9))
    pd = [number(0.006 * 1.5**k) for k in range(9)]
    rate = tuple(number(v * (1.14 if k == 6 else 1.02)) for k, v in enumerate(pd))
    return Figure(
        id=identifier,
        chart="xy",
        caption="Default rates rise with every grade; grade 07 exceeds its PD (2014 out-of-time, 95 % Jeffreys).",
        alt="Bars of default rate by grade from 0.6 % in grade 01 to 15.7 % in grade 09, with PD as points. "
        "Grade 07 lies 14 % above its PD.",
        x_label="Grade, best to worst",
        y_label="Default rate",
        y_format="share",
        series=(
            Series(
                name="Observed, out-of-time",
                role="out_of_time",
                mark="bars",
                x=names,
                y=rate,
                low=tuple(number(v * 0.93) for v in rate),
                high=tuple(number(v * 1.07) for v in rate),
                n=(41220, 38101, 30877, 25410, 19332, 14876, 9120, 5022, 2283),
            ),
            Series(name="PD of the grade", role="reference", mark="points", x=names, y=tuple(pd)),
        ),
    )


def importance_figure(identifier: str, size: str = "full") -> Figure:
    names = (
        "interest_rate_at_application",
        "annual_income",
        "debt_to_income",
        "loan_amount",
        "revolving_utilisation",
        "months_since_oldest_account",
        "inquiries_last_6m",
        "term",
        "purpose",
        "home_ownership",
    )
    y = tuple(number(0.41 * 0.78**k) for k in range(10))
    return Figure(
        id=identifier,
        chart="bars",
        caption="Three inputs carry 60 % of the score's movement (holdout, N = 40 000, mean |φ|, 95 % bootstrap).",
        alt="Ten inputs ranked by mean absolute contribution. interest_rate_at_application leads with 0.41 logits, "
        "annual_income 0.32, debt_to_income 0.25; home_ownership is last with 0.04.",
        x_label="Input",
        y_label="Mean absolute contribution (logit)",
        series=(
            Series(
                name="Holdout",
                role="holdout",
                mark="bars",
                x=names,
                y=y,
                low=tuple(number(v * 0.96) for v in y),
                high=tuple(number(v * 1.04) for v in y),
            ),
        ),
        size=size,  # type: ignore[arg-type]
    )


def forest_figure(identifier: str) -> Figure:
    return Figure(
        id=identifier,
        chart="forest",
        caption="No group falls below the screening ratio; the widest interval is age 60+ (test data, 95 % log).",
        alt="Selection-rate ratios of five groups against their reference. The lowest is age under 25 with 0.87, "
        "interval 0.84 to 0.90; all intervals lie above 0.80.",
        x_label="Group",
        y_label="Adverse impact ratio",
        y_format="auc",
        series=(
            Series(
                name="Ratio",
                role="group",
                mark="points",
                x=("women / men", "age < 25 / 25–59", "age 60+ / 25–59", "single / married", "other / married"),
                y=(1.021, 0.871, 0.932, 0.988, None),
                low=(1.004, 0.842, 0.861, 0.969, None),
                high=(1.038, 0.9, 1.009, 1.007, None),
                n=(18112, 4122, 611, 15964, 27),
            ),
        ),
        lines=(
            ReferenceLine(axis="x", value=0.8, label="screening ratio 0.8"),
            ReferenceLine(axis="x", value=1.0, label="parity"),
        ),
    )


def heatmap_figure(identifier: str) -> Figure:
    rng = np.random.default_rng(_RNG_SEED + 2)
    rows = ("annual_income", "debt_to_income", "months_since_oldest_account", "revolving_utilisation", "title")
    names = tuple(str(2007 + k) for k in range(8))
    cells = tuple(
        tuple(None if (r == 4 and c < 2) else number(float(rng.beta(1.2, 14) * (1 + r / 3))) for c in range(8))
        for r in range(5)
    )
    return Figure(
        id=identifier,
        chart="heatmap",
        caption="Missing values stay under 5 % in gating inputs except title before 2009 (all rows, by year).",
        alt="Heat map of missing shares, five inputs by eight years. Highest cells are in title; annual_income stays "
        "below 3 % in every year. Two cells of title have no value.",
        y_label="Missing",
        y_format="share",
        rows=rows,
        columns=names,
        cells=cells,
        cell_notes=tuple(tuple(f"n {1000 * (c + 1)}" for c in range(8)) for _ in range(5)),
    )


def waterfall_figure(identifier: str) -> Figure:
    return Figure(
        id=identifier,
        chart="waterfall",
        caption="A declined case: high utilisation and short history outweigh income (case 0007, margin scale).",
        alt="Waterfall of seven contributions ending at 1.13 logits above the average. Largest push up: "
        "revolving_utilisation +0.72; largest push down: annual_income -0.31.",
        x_label="Input",
        y_label="Contribution (logit)",
        series=(
            Series(
                name="case",
                x=(
                    "revolving_utilisation",
                    "months_since_oldest_account",
                    "inquiries_last_6m",
                    "debt_to_income",
                    "loan_amount",
                    "annual_income",
                    "term",
                ),
                y=(0.7214, 0.4131, 0.2877, 0.1502, -0.0421, -0.3108, -0.0902),
            ),
        ),
        size="half",
    )


def matrix_figure(identifier: str) -> Figure:
    names = ("low", "medium", "high")
    return Figure(
        id=identifier,
        chart="matrix",
        caption="Exposure is high and the purpose is direct: tier 1, full depth.",
        alt="Tier matrix of exposure by purpose. This model has high exposure and a direct decision: tier 1.",
        x_label="Purpose",
        y_label="Exposure",
        rows=("high", "medium", "low"),
        columns=("supporting", "significant", "direct decision"),
        cells=((0, 0, 1), (0, 0, 0), (0, 0, 0)),
        cell_notes=(("tier 2", "tier 1", "tier 1"), ("tier 3", "tier 2", "tier 1"), ("tier 3", "tier 3", "tier 2")),
        size="full" if names else "half",
    )


def flow_figure(identifier: str) -> Figure:
    return Figure(
        id=identifier,
        chart="flow",
        caption="91.2 % of source rows reach the model; every loss has a reason (source to samples).",
        alt="Flow from 466 285 source rows through contract, maturity and window filters to 425 310 model rows.",
        series=(
            Series(
                name="rows",
                x=(
                    "Source rows",
                    "Accepted by contract",
                    "Labels matured",
                    "Inside window",
                    "After entity split",
                    "Model rows",
                ),
                y=(466285, 466180, 441020, 431877, 431877, 425310),
            ),
        ),
        y_format="int",
    )


def psi_figure(identifier: str) -> Figure:
    rng = np.random.default_rng(_RNG_SEED + 3)
    x = tuple(float(k) for k in range(1, 61))
    y = [abs(float(v)) for v in np.cumsum(rng.normal(0.0008, 0.002, 60)) + 0.02]
    return Figure(
        id=identifier,
        chart="xy",
        caption="PSI stays below the watch limit for 60 months (monthly against development, 95 % sampling band).",
        alt="PSI over 60 months with its sampling band. It starts at 0.02, ends at 0.07 and never reaches 0.10.",
        x_label="Months since development",
        y_label="PSI",
        y_format="psi",
        series=(
            Series(
                name="Out-of-time",
                role="out_of_time",
                x=x,
                y=tuple(number(v) for v in y),
                low=tuple(number(v * 0.7) for v in y),
                high=tuple(number(v * 1.3) for v in y),
                n=tuple(int(v) for v in rng.integers(2000, 22_000, 60)),
            ),
        ),
        lines=(
            ReferenceLine(axis="y", value=0.1, label="watch 0.10"),
            ReferenceLine(axis="x", value=36, label="policy change"),
        ),
    )


def ale_figure(identifier: str, log: bool = False) -> Figure:
    x = tuple(number(10 ** (3.9 + 0.1 * k)) for k in range(20)) if log else tuple(float(k) for k in range(0, 40, 2))
    return Figure(
        id=identifier,
        chart="xy",
        caption=("Risk falls with income" if log else "Risk rises with debt to income")
        + ", as declared (holdout, N = 40 000).",
        alt="First-order effect with 20 points. It is monotone over the range and moves the margin by 0.8 logits.",
        x_label="Annual income (USD)" if log else "Debt to income (%)",
        y_label="Effect on margin (logit)",
        x_scale="log" if log else "linear",
        x_format="money" if log else "number",
        series=(
            Series(
                name="ALE",
                role="holdout",
                x=x,
                y=tuple(number((-1 if log else 1) * (math.tanh(k / 9 - 1)) * 0.4) for k in range(20)),
                n=tuple(2000 + 10 * k for k in range(20)),
            ),
        ),
        size="half",
    )


def grouped_bars_figure(identifier: str) -> Figure:
    x = ("approved", "approved with limit", "referred", "declined")
    return Figure(
        id=identifier,
        chart="bars",
        caption="Samples agree in the mix of decisions (development and out-of-time).",
        alt="Grouped bars of four decisions in two samples. Approved is 61.2 % in development and 58.9 % out of time.",
        y_label="Share of applications",
        y_format="share",
        series=(
            Series(name="Development", role="development", mark="bars", x=x, y=(0.612, 0.121, 0.093, 0.174)),
            Series(name="Out-of-time", role="out_of_time", mark="bars", x=x, y=(0.589, 0.131, 0.09, 0.19)),
        ),
        size="half",
    )


def register(rows: int) -> tuple[RegisterRow, ...]:
    rng = np.random.default_rng(_RNG_SEED + 4)
    tests = (
        ("disc.auc", "E1", "AUC", "auc"),
        ("cal.jeffreys", "E2", "Jeffreys, grade", "pvalue"),
        ("stab.psi", "E3", "PSI of the score", "psi"),
        ("data.missing", "C2", "Missing share", "share"),
        ("fair.air", "F1", "Adverse impact ratio", "auc"),
    )
    samples = ("development", "holdout", "out_of_time")
    out = []
    for k in range(rows):
        test, section, label, style = tests[k % len(tests)]
        value = number(float(rng.uniform(0.01, 0.9)))
        light = (PASS, PASS, PASS, WATCH, OPEN, INFO, PASS, FAIL)[k % 8]
        out.append(
            RegisterRow(
                test_id=test,
                section=section,
                kind="pd",
                segment="all" if k % 3 else f"purpose=debt_consolidation_{k}",
                sample=samples[k % 3],
                n=int(rng.integers(100, 200_000)),
                events=int(rng.integers(10, 20_000)),
                statistic=None if light is OPEN else value,
                effect=number(float(rng.normal(0, 0.1))),
                ci_low=None if light is OPEN else number(value * 0.95),
                ci_high=None if light is OPEN else number(value * 1.05),
                ci_method="DeLong",
                p_raw=number(float(rng.uniform(0, 0.2))),
                p_adj=number(float(rng.uniform(0, 0.4))),
                power=number(float(rng.uniform(0.3, 1))),
                power_alternative="PD × 1.5",
                light=light,
                light_rule="interval rule",
                threshold="≥ 0.65 pass, ≥ 0.6 watch",
                threshold_source="house policy",
                policy_version="2026.1",
                previous_value=number(value * 1.01),
                n_reason="inconclusive, power 31 % is below 50 %" if light is OPEN else None,
                data_hash=DIGEST,
                semantics_ref="metrics/1",
                seed=20260101,
                gating=k % 4 == 0,
                label=label,
                format=style,  # type: ignore[arg-type]
            )
        )
    return tuple(out)


FINDINGS = (
    Finding(
        id="F-001",
        severity="high",
        section="E2",
        evidence_id="E2-T1",
        fact="Grade 07 under-predicts: 7.80 % observed against 6.83 % PD, p < 0.001 after Holm.",
        why="About 88 more defaults a year than priced; expected loss understated by 0.9 m USD.",
        recommendation="Recalibrate grade 07 or add a margin before use.",
        owner="Head of retail models",
        due="2026-12-31",
        opened="credit_pd-1.0.0",
    ),
    Finding(
        id="F-002",
        severity="medium",
        section="C2",
        evidence_id="C2-F1",
        fact="title is missing in 38 % of rows before 2009.",
        why="Early vintages are scored on a constant.",
        recommendation="Drop the input or restrict the window to 2009 and later.",
        owner=None,
        due=None,
        opened="credit_pd-1.0.0",
    ),
    Finding(
        id="F-003",
        severity="observation",
        section="E5",
        evidence_id="E5-T1",
        fact="The gain over the simple scorecard is 1.9 points of AUC.",
        why="Complexity has to be justified by performance.",
        recommendation="Record the complexity case in D1.",
        opened="credit_pd-1.0.0",
    ),
)

_STRIP = (
    ("B1", "Tiering", INFO),
    ("B3", "Independence", WATCH),
    ("C1", "Lineage", PASS),
    ("C2", "Data quality", PASS),
    ("C3", "Outcome", PASS),
    ("D2", "Features", PASS),
    ("E1", "Discrimination", PASS),
    ("E2", "Calibration", WATCH),
    ("E3", "Stability", PASS),
    ("E5", "Challenger", PASS),
    ("F1", "Outcome disparity", OPEN),
    ("F2", "Error parity", OPEN),
    ("G1", "Global drivers", PASS),
    ("G2", "Reasons", PASS),
    ("G3", "Shapes", FAIL),
    ("I2", "Findings", INFO),
)


def key_number(label: str, section: str, value: float | None, style: Format, **rest: Any) -> KeyNumber:
    return KeyNumber(label=label, section=section, test_id=rest.pop("test_id", None), value=value, format=style, **rest)


def summary() -> Summary:
    return Summary(
        decision_asked="Approve credit_pd 1.0.0 for pricing and approval of unsecured personal loans.",
        decide_by="2026-12-15",
        opinion="Unable to conclude",
        why=(
            "The model separates and is calibrated out of time within policy, except in grade 07.",
            "Fairness is not evaluated: no protected attribute was available for testing.",
            "One declared direction is violated in 0.4 % of the range of debt_to_income.",
        ),
        conditions=(
            "Recalibrate grade 07 before pricing use (owner: Head of retail models, by 2026-12-31).",
            "Obtain protected attributes for testing or a documented reason (owner: Model owner, by 2027-03-31).",
        ),
        change_class="First validation (material)",
        strip=_STRIP,
        key_numbers=(
            key_number("AUC, out-of-time", "E1", 0.6893, "auc", ci_low=0.6861, ci_high=0.6925, previous=0.6971,
                       limit="≥ 0.65 pass, ≥ 0.6 watch", light=PASS, test_id="disc.auc"),
            key_number("AUC drop from development", "E1", 0.0227, "auc", ci_low=0.0181, ci_high=0.0273,
                       limit="< 0.05 pass, < 0.1 watch", light=PASS),
            key_number("Observed / expected defaults", "E2", 1.0124, "auc", ci_low=1.0007, ci_high=1.0242,
                       previous=0.9881, limit="0.9-1.1 pass, 0.8-1.2 watch", light=PASS),
            key_number("Jeffreys p, worst block", "E2", 0.00041, "pvalue", limit="p ≥ 0.05 pass, p < 0.01 fail",
                       light=WATCH, note="significant, not material"),
            key_number("Calibration slope", "E2", 0.9713, "auc", ci_low=0.9551, ci_high=0.9875,
                       limit="0.9-1.1 pass, 0.8-1.25 watch", light=PASS),
            key_number("PSI of the score", "E3", 0.0712, "psi", ci_low=0.0688, ci_high=0.0736, previous=0.0411,
                       limit="≤ 0.1 pass, ≤ 0.25 watch", light=PASS),
            key_number("Gain over scorecard (AUC)", "E5", 0.0191, "auc", ci_low=0.0163, ci_high=0.0219,
                       limit="> 0 pass", light=PASS),
            key_number("Adverse impact ratio, lowest", "F1", None, "auc", limit="≥ 0.8 pass", light=OPEN,
                       note="no protected attribute"),
        ),
        gain_over_simple="AUC +0.019 (95 % 0.016 to 0.022) over a 12-input scorecard on the same rows.",
        worst_segment="purpose = small_business: AUC 0.634 (95 % 0.617 to 0.651), n = 6 812.",
        smallest_detectable="A rise of the default rate from 15.00 % to 15.24 % (80 % power); an AUC fall of 0.005.",
        not_evaluated=(
            "fair.air: no protected attribute in the test data",
            "fair.calibration: no protected attribute in the test data",
        ),
        as_of="2016-01-31",
        matured_share="94.6 % of labels matured (12 months)",
        restrictions=("Personal loans up to USD 40 000 only.", "Not for collections or marketing."),
        findings_count={"critical": 0, "high": 1, "medium": 1, "low": 0, "observation": 1},
        top_findings=tuple(f"{f.id} ({f.section}): {f.fact}" for f in FINDINGS),
        reproduce="git clone … && cd bank && make repro MODEL=credit_pd",
        signature_status="Draft – unsigned",
    )  # fmt: skip


def narrative_section() -> Section:
    text = (
        "The score supports **approve / decline** and risk-based pricing of unsecured personal loans.\n\n"
        "It is used at application, once per applicant:\n\n"
        "- horizon: 12 months from origination;\n- population: retail applicants, USD 1 000 to 40 000;\n"
        "- fully automated up to USD 10 000.\n\n### Prohibited use\n\nCollections, marketing, employment.\n\n"
        "| Use | Permitted |\n|---|---|\n| Pricing | yes |\n| Collections | no |\n"
    )
    return Section(
        code="B2",
        title="Purpose, permitted use, limits",
        light=PASS,
        conclusion="Every declared limit has a live value inside its bounds.",
        would_change="A limit without a monitor, or a value outside its bounds.",
        so_what="The model may be used for what it was built for and for nothing else.",
        blocks=(
            Narrative(key="purpose", question="What decision does the model support?", markdown=text),
            Narrative(
                key="affected",
                question="Who is affected by the decision, and what can they do when they disagree?",
                markdown=None,
            ),
            Table(
                id="B2-T1",
                caption="All three limits are inside their bounds today (out-of-time, N = 186 241).",
                columns=columns(
                    ("limit", "Limit", "text"), ("bound", "Bound", "text"), ("value", "Value today", "number"),
                    ("light", "Light", "light"),
                ),
                rows=(
                    {"limit": "Loan amount, largest (USD)", "bound": "≤ 40 000", "value": 35000.0, "light": "pass"},
                    {"limit": "Debt to income, largest (%)", "bound": "≤ 40", "value": 39.99, "light": "pass"},
                    {"limit": "Term, longest (months)", "bound": "≤ 60", "value": 60.0, "light": "pass"},
                ),
            ),
        ),
    )  # fmt: skip


def section(code: str, title: str, light: Light, conclusion: str, *blocks: Block, **rest: Any) -> Section:
    rest.setdefault("would_change", "A worse result on a larger sample, or a limit tightened by policy.")
    return Section(code=code, title=title, light=light, conclusion=conclusion, blocks=blocks, **rest)


def absent(code: str, title: str, reason: str, status: str = "not_computed") -> Section:
    return Section(code=code, title=title, light=INFO, status=status, conclusion=reason)  # type: ignore[arg-type]


def body() -> tuple[Section, ...]:
    facts = Facts(
        id="A1-T1",
        caption="Personal-loan PD 1.0.0, tier 1, data as of 2016-01-31.",
        facts=(
            Fact(label="Model", value="Personal-loan PD"),
            Fact(label="Model id", value="credit_pd"),
            Fact(label="Tier", value=1, format="int"),
            Fact(label="Scorer", value=DIGEST, format="hash"),
            Fact(label="Exposure covered (USD)", value=6417608175.0, format="money"),
            Fact(label="Share of portfolio", value=0.2143, format="share"),
            Fact(label="Developer is validator", value=False),
            Fact(label="Data as of", value="2016-01-31", format="date"),
            Fact(label="Light of identity", value="pass", format="light"),
        ),
    )
    digests = Table(
        id="A1-T2",
        caption="Six digests (SHA-256) bind this pack to what it was computed from.",
        columns=columns(("object", "Object", "text"), ("digest", "SHA-256", "text")),
        rows=tuple({"object": name, "digest": DIGEST} for name in ("Frozen scorer", "Policy", "Spec", "Data set")),
    )
    text = Paragraph(
        text="The test compares the observed number of defaults with the number that the fixed PD implies. Its null "
        "hypothesis is that the true rate does not exceed the PD; a small p therefore speaks against the model. "
        "Raw and Holm-adjusted values are printed, and the block that gates is the merged one."
    )
    return (
        section("A1", "Cover and identity", PASS, "Identity is complete and all digests match.", facts, digests),
        section("B1", "Inventory and tiering", INFO, "It is a model, tier 1: high exposure and a direct decision.",
                matrix_figure("B1-F1")),
        narrative_section(),
        section("B3", "Scope and independence", WATCH, "One planned test was skipped with a reason; validator named.",
                text),
        section("C1", "Data lineage", PASS, "Rows reconcile with the source within 0.1 %.", flow_figure("C1-F1"),
                Table(id="C1-T1", caption="No row was quarantined (contract loans, N = 466 285).",
                      columns=columns(("rule", "Rule", "text"), ("failed", "Failed", "int")), rows=(),
                      empty="No rule failed on any row.")),
        section("C2", "Data quality", PASS, "Gating inputs are complete; one optional input is not.",
                heatmap_figure("C2-F1"), so_what="Missing values do not move the score in the years that matter."),
        section("C3", "Outcome definition and sampling", PASS, "94.6 % of labels have matured.", text,
                vintage_figure("C3-F1")),
        absent("C4", "Population representativeness", "Not computed by this build: drift and C2ST evidence."),
        section("D1", "Development choices", INFO, "40 trials, one seed; the chosen depth is 6.", text,
                grouped_bars_figure("D1-F1"), importance_figure("D1-F2", "half")),
        absent("D3", "Replication", "Not part of a draft: rerun evidence is a release gate."),
        section("E1", "Discrimination", PASS, "AUC out of time is 0.689 (95 % 0.686 to 0.693), limit 0.650.", text,
                roc_figure("E1-F1"), density_figure("E1-F2"), vintage_figure("E1-F3"),
                so_what="The ranking can carry approval and pricing; small businesses are ranked worse."),
        section("E2", "Calibration", WATCH, "Portfolio calibration passes; grade 07 under-predicts by 14 %.",
                grade_table("E2-T1"), grade_figure("E2-F1"), reliability_figure("E2-F2"), text,
                would_change="Recalibrating grade 07; a further year of data in grades 08 and 09.",
                so_what="Pricing in grade 07 is 0.97 points too low until the grade is recalibrated."),
        section("E3", "Stability", PASS, "PSI of the score is 0.0712, limit 0.1.", psi_figure("E3-F1")),
        absent("E4", "IFRS 9 outcomes", "Not computed by this build: staging and ECL evidence."),
        section("E5", "Benchmark and challenger", PASS, "The model beats the scorecard by 1.9 points of AUC.", text),
        absent("E7", "Impact", "Does not apply: no capital use is declared.", "not_applicable"),
        section("F1", "Outcome disparity", OPEN, "Not evaluated: no protected attribute in the test data.",
                forest_figure("F1-F1"), would_change="Protected attributes for at least 30 applicants per group."),
        section("G1", "Global drivers", PASS, "Contributions sum to the margin; three inputs dominate.",
                importance_figure("G1-F1"), grade_table("G1-T1", 14)),
        section("G2", "Local explanations and reasons", PASS, "Reason codes follow this applicant's contributions.",
                waterfall_figure("G2-F1"), ale_figure("G2-F2")),
        section("G3", "Effect shapes and monotonicity", FAIL, "One declared direction is violated.",
                ale_figure("G3-F1", log=True), ale_figure("G3-F2")),
        section("I1", "Limitations and compensating controls", INFO, "Three limitations, each with its size.", text),
        section("I2", "Findings log", INFO, "Three findings are open: one high, one medium, one observation."),
        section("I3", "Opinion and sign-off", INFO, "Proposed: Unable to conclude. Unsigned.", text),
        section("J1", "Test register", INFO, "Every test of the pack, in the order of its sections."),
        section("J5", "Glossary", INFO, "Terms as this pack uses them.",
                Facts(id="J5-T1", caption="Terms.", facts=(
                    Fact(label="AUC", value="Probability that a defaulted loan scores higher than another."),
                    Fact(label="PSI", value="Population stability index."),
                ))),
    )  # fmt: skip


def identity() -> dict[str, Scalar]:
    return {
        "id": "credit_pd",
        "title": "Personal-loan PD",
        "kind": "pd",
        "version": "1.0.0",
        "tier": 1,
        "owner": "Retail Credit, A. Owner",
        "developer": "B. Developer",
        "validator": "C. Validator",
        "inventory_link": "MRM-0142",
        "pack_id": "credit_pd-1.0.0-2016-01-31",
        "validation_type": "First validation",
        "as_of": "2016-01-31",
        "status": "Draft – unsigned",
        "classification": "Confidential – internal",
    }


def pack(**changes: Any) -> Pack:
    """The sample pack, sealed. ``changes`` replace top-level fields before sealing."""
    fields: dict[str, Any] = {
        "identity": identity(),
        "digests": dict.fromkeys(("data", "lock", "policy", "scorer", "semantics", "spec"), DIGEST),
        "as_of": "2016-01-31",
        "summary": summary(),
        "sections": body(),
        "findings": FINDINGS,
        "register_rows": register(48),
        "policy": {"name": "standard", "version": "2026.1", "limits": {"disc.auc": {"kind": "lower", "watch": 0.65}}},
        "spec": {"name": "credit_pd", "kind": "pd", "seed": 20260101},
    }
    fields.update(changes)
    return Pack(**fields).sealed()
