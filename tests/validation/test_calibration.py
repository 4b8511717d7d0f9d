from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import beta, binom

from countermark.records.evidence import Figure
from countermark.records.lights import Light
from countermark.validation.calibration import calibration, material
from tests.validation.builders import make_inputs
from tests.validation.sections import check_pure, check_section, light, row
from tests.validation.test_discrimination import with_test


def gating(section):
    return [r for r in section.rows if r.gating]


def test_a_sound_model_passes():
    inputs = make_inputs()
    got = calibration(inputs)
    check_section(got)
    assert light(got) is Light.PASS
    test = inputs.test
    main = row(got, "cal.jeffreys")
    pd = float(test.grade_pd[test.grade].mean())
    assert main.statistic == pytest.approx(beta.cdf(pd, test.events + 0.5, test.n - test.events + 0.5), rel=1e-7)
    critical = next(k for k in range(test.n) if beta.cdf(pd, k + 0.5, test.n - k + 0.5) < 0.05)
    assert main.power == pytest.approx(binom.sf(critical - 1, test.n, 1.5 * pd), rel=1e-7)
    assert main.power_alternative == "PD x 1.5"
    assert got.extras["oe"]["value"] == pytest.approx(test.events / test.p.sum(), rel=1e-7)
    assert 1.0 < got.extras["smallest_detectable_pd_multiple"] < 1.5
    assert {b.id for b in got.blocks} == {f"E2-F{i}" for i in range(1, 5)} | {f"E2-T{i}" for i in (1, 2, 4, 5, 6)}
    # Every block is one grade here, so the table of raw grades would only repeat the table of blocks.
    assert len(next(b for b in got.blocks if b.id == "E2-T1").rows) == len(test.grade_names)


def test_halved_probabilities_fail():
    got = calibration(make_inputs(halve_p=True))
    check_section(got)
    assert light(got) is Light.FAIL
    assert row(got, "cal.jeffreys").light is Light.FAIL
    assert row(got, "cal.jeffreys", "mean probability").light is Light.FAIL
    assert row(got, "cal.oe_ratio").light is Light.FAIL
    assert row(got, "cal.slope_citl", "in the large").ci_low > 0.3
    assert got.conclusion.startswith("Risk is under-estimated in the portfolio")
    assert got.so_what.startswith("Losses exceed")


def test_blocks_are_judged_after_holm():
    got = calibration(make_inputs(halve_p=True))
    blocks = [r for r in gating(got) if r.segment.startswith("grades ")]
    near = [r for r in blocks if r.p_raw < 0.01 <= r.p_adj]
    assert near
    assert all(r.light is Light.WATCH for r in near)
    assert all(r.light is Light.FAIL for r in blocks if r.p_adj < 0.01)


def test_three_customers_are_not_evaluated_though_p_is_small():
    inputs = make_inputs(n=12)
    tiny = {"y": np.array([0, 0, 1], dtype=np.int8), "p": np.full(3, 0.02), "grade": np.zeros(3, dtype=np.int64)}
    got = calibration(with_test(inputs, **tiny, grade_pd=np.full(7, 0.02)))
    main = row(got, "cal.jeffreys")
    assert main.p_raw < 0.01
    assert main.light is Light.NOT_EVALUATED
    assert light(got) is Light.NOT_EVALUATED


def test_a_wrong_probability_behind_right_grades_fails():
    """The master scale may be right while the probabilities that decisions use are not."""
    inputs = make_inputs()
    got = calibration(with_test(inputs, p=inputs.test.p / 2))
    assert row(got, "cal.jeffreys").light is Light.PASS
    assert row(got, "cal.jeffreys", "mean probability").light is Light.FAIL
    assert light(got) is Light.FAIL


def test_one_wrong_grade_fails_its_block_only():
    inputs = make_inputs(n=30000)
    pd = inputs.test.grade_pd.copy()
    pd[2], pd[6] = pd[2] / 2, pd[6] * 1.3
    got = calibration(with_test(inputs, grade_pd=pd))
    check_section(got)
    failing = [r.segment for r in gating(got) if r.light is Light.FAIL]
    assert failing == ["grades C"]
    assert "grades C" in got.conclusion
    assert row(got, "cal.jeffreys", "grade C").light is Light.INFORMATION


def test_blocks_merge_until_they_have_power_and_are_holm_adjusted():
    inputs = make_inputs(n=1600)
    got = calibration(inputs)
    check_section(got)
    blocks = [r for r in gating(got) if r.segment.startswith("grades ")]
    assert sum(r.n for r in blocks) == inputs.test.n
    assert len(blocks) < len(inputs.test.grade_names)
    assert any(" to " in r.segment for r in blocks)
    for r in blocks:
        assert r.power >= 0.4
        assert r.p_adj >= r.p_raw
        assert r.power_alternative == "PD x 2"
    assert not [r for r in got.rows if r.segment.startswith("grade ") and r.gating]


def test_a_pass_without_power_is_not_evaluated():
    inputs = make_inputs(n=240)
    got = calibration(inputs)
    check_section(got)
    main = row(got, "cal.jeffreys")
    assert main.power < 0.5
    assert main.light is Light.NOT_EVALUATED
    assert "power" in main.n_reason
    assert light(got) is Light.NOT_EVALUATED


def test_a_significant_but_immaterial_error_is_watched():
    inputs = make_inputs(n=400)
    n = 4_000_000
    big = {
        "y": np.zeros(n, dtype=np.int8),
        "p": np.full(n, 0.004),
        "grade": np.zeros(n, dtype=np.int64),
        "grade_pd": np.array([0.004]),
        "grade_names": ("A",),
    }
    assert material(inputs, 0.00435, 0.004) is False
    assert material(inputs, 0.0046, 0.004) is True
    assert material(inputs, 0.0206, 0.02) is True
    assert material(inputs, None, 0.02) is None
    big["y"][: int(0.00435 * n)] = 1
    spec = dataclasses.replace(inputs.test, **big)
    from countermark.metrics.calibration import jeffreys_test
    from countermark.validation.calibration import _portfolio_row, _portfolios

    only = dataclasses.replace(inputs, samples={**inputs.samples, "out_of_time": spec})
    scale, _ = _portfolios(only)
    got = _portfolio_row(only, scale)
    assert jeffreys_test(n, int(0.00435 * n), 0.004).p_value < 0.01
    assert got.light is Light.WATCH
    assert "not material" in got.light_rule


def test_gross_over_prediction_is_red_though_the_one_sided_test_passes():
    inputs = make_inputs()
    t = inputs.test
    got = calibration(with_test(inputs, p=np.minimum(1.6 * t.p, 0.999), grade_pd=np.minimum(1.6 * t.grade_pd, 0.999)))
    assert light(got) is Light.FAIL
    assert row(got, "cal.oe_ratio").light is Light.FAIL
    assert {r.light for r in got.rows if r.test_id == "cal.jeffreys" and r.gating} == {Light.PASS}
    assert "over-estimated" in got.conclusion
    assert "prudent" in got.so_what


def test_the_correlation_is_stated_and_softens_the_test():
    got = calibration(make_inputs(halve_p=True))
    spread = row(got, "cal.binomial_correlated")
    assert "asset correlation 5." in spread.label
    assert spread.light is Light.INFORMATION
    assert spread.statistic > 1000 * row(got, "cal.binomial").statistic


def test_decompositions_add_up():
    got = calibration(make_inputs())
    score = row(got, "cal.brier").statistic
    mcb, dsc, unc = (row(got, "cal.corp", s).statistic for s in ("miscalibration", "discrimination", "uncertainty"))
    assert score == pytest.approx(mcb - dsc + unc, abs=1e-9)
    rel, res, rest = (row(got, "cal.brier_murphy", s).statistic for s in ("reliability", "resolution", "residual"))
    assert score == pytest.approx(rel - res + unc + rest, abs=1e-9)
    bars = next(b for b in got.blocks if isinstance(b, Figure) and b.id == "E2-F4").series[0]
    assert sum(bars.y) == pytest.approx(score, abs=1e-9)


def test_reliability_figure_has_curve_band_and_counted_bins():
    inputs = make_inputs()
    figure = next(b for b in calibration(inputs).blocks if b.id == "E2-F1")
    band, curve, bins = figure.series
    assert all(low <= high for low, high in zip(band.low, band.high, strict=True))
    assert list(curve.y) == sorted(curve.y)
    assert sum(bins.n) == inputs.test.n
    assert all(low <= y <= high for low, y, high in zip(bins.low, bins.y, bins.high, strict=True))


@pytest.mark.parametrize("events", [0, 1, 5, 10, 30])
def test_tiny_samples_never_pass_for_lack_of_power(events):
    inputs = make_inputs(n=160)
    y = np.zeros(inputs.test.n, dtype=np.int8)
    y[np.argsort(-inputs.test.p)[:events]] = 1
    got = calibration(with_test(inputs, y=y))
    check_section(got)
    assert light(got) in (Light.NOT_EVALUATED, Light.FAIL)
    if events < 10:
        judged = (
            "cal.oe_ratio",
            "cal.slope_citl",
            "cal.corp",
            "cal.hosmer_lemeshow",
            "cal.spiegelhalter",
            "cal.binomial",
        )
        assert not [r for r in got.rows if r.test_id in judged and r.light is Light.PASS]


@pytest.mark.parametrize("n", [0, 5, 40, 120, 400])
def test_any_size_of_data_gives_a_section(n):
    for kw in ({}, {"dates": False, "out_of_time": False}):
        got = calibration(make_inputs(n=n, **kw))
        check_section(got)
        if n < 120:
            assert light(got) is Light.NOT_EVALUATED


def test_it_reads_only_and_repeats_itself():
    check_pure(calibration, make_inputs(n=1500))
