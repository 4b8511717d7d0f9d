from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.lights import Light
from countermark.validation.drivers import additivity_residual, bootstrap_means, clustered, drivers
from tests.scoring import builders as scorers
from tests.validation.builders import LogisticScorer, make_inputs
from tests.validation.sections import check_pure, check_section, light, row


def with_scorer(inputs, scorer):
    return dataclasses.replace(inputs, scorer=scorer)


def with_test(inputs, **changes):
    role = inputs.test.role
    return dataclasses.replace(inputs, samples={**inputs.samples, role: dataclasses.replace(inputs.test, **changes)})


def test_a_sound_model_passes_and_the_strongest_input_leads():
    inputs = make_inputs()
    got = drivers(inputs)
    check_section(got)
    assert light(got) is Light.PASS
    main = row(got, "xai.shap_additivity")
    assert main.gating
    assert main.statistic < 1e-12
    names = [d["name"] for d in got.extras["top"]]
    assert names[0] == "utilisation"
    assert set(names) == {item.name for item in inputs.scorer.inputs}
    phi, _ = inputs.scorer.contributions(inputs.test.features)
    found = row(got, "xai.global", "utilisation")
    assert found.statistic == pytest.approx(np.abs(phi[:, 0]).mean(), rel=1e-8)
    assert found.ci_low < found.statistic < found.ci_high
    drop = row(got, "xai.global", "utilisation: permuted")
    assert drop.statistic > 0.05
    assert drop.ci_low > 0
    assert sum(d["share"] for d in got.extras["top"]) == pytest.approx(1.0)
    assert {b.id for b in got.blocks if hasattr(b, "id")} == {"G1-F1", "G1-F2", "G1-T1", "G1-T2", "G1-T3"}


@dataclasses.dataclass(frozen=True)
class Leaking(LogisticScorer):
    """Contributions that forget a millionth of the margin."""

    def contributions(self, columns):
        phi, base = super().contributions(columns)
        return phi, base + 1e-6


def test_contributions_that_do_not_add_up_fail():
    inputs = make_inputs(n=2000)
    sound = inputs.scorer
    got = drivers(with_scorer(inputs, Leaking(sound.intercept, sound.weights, sound.purposes)))
    check_section(got)
    assert light(got) is Light.FAIL
    assert row(got, "xai.shap_additivity").statistic == pytest.approx(1e-6, rel=1e-3)
    assert "no driver below can be relied on" in got.conclusion


def test_recorded_scores_of_another_scorer_fail():
    inputs = make_inputs(n=2000)
    assert light(drivers(with_test(inputs, margin=inputs.test.margin + 1e-7))) is Light.FAIL


def test_no_rows_are_not_evaluated():
    inputs = make_inputs(n=2000)
    empty = {name: values[:0] for name, values in inputs.test.features.items()}
    none = with_test(
        inputs, y=inputs.test.y[:0], margin=inputs.test.margin[:0], p=inputs.test.p[:0], grade=inputs.test.grade[:0],
        features=empty,
    )  # fmt: skip
    got = drivers(none)
    check_section(got)
    assert light(got) is Light.NOT_EVALUATED


def test_one_outcome_leaves_the_permutation_out_and_keeps_the_contributions():
    inputs = make_inputs(n=1200)
    got = drivers(with_test(inputs, y=np.zeros_like(inputs.test.y)))
    check_section(got)
    assert light(got) is Light.PASS
    assert row(got, "xai.global", "arrears: permuted").light is Light.NOT_EVALUATED
    assert row(got, "xai.global", "arrears").statistic > 0


def test_inputs_that_move_together_are_a_cluster():
    inputs = make_inputs(n=2000)
    features = dict(inputs.test.features) | {"arrears": inputs.test.features["utilisation"] * 2.0}
    got = drivers(with_test(inputs, features=features, margin=inputs.scorer.margin(features)))
    check_section(got)
    assert got.extras["clusters"] == [["utilisation", "arrears"]]
    assert "1 cluster" in got.conclusion


def test_the_section_is_pure():
    check_pure(drivers, make_inputs(n=1200))


@pytest.mark.parametrize("kind", sorted(scorers.DOCUMENTS))
def test_real_scorers_of_every_kind(kind):
    inputs, frozen = make_inputs(n=2000), scorers.scorer(kind)
    table = scorers.columns(inputs.test.n, 3)
    margin = frozen.margin(table)
    p = frozen.probability(margin)
    y = (np.random.default_rng(1).random(p.size) < p).astype(np.int8)
    got = drivers(
        with_scorer(with_test(inputs, features=table, margin=margin, p=p, grade=frozen.grade(p), y=y), frozen)
    )
    check_section(got)
    assert light(got) is Light.PASS
    assert row(got, "xai.shap_additivity").statistic < 1e-12


def test_the_bootstrap_interval_has_the_width_of_the_normal_one():
    values = np.random.default_rng(3).normal(size=(900, 2)) * np.array([1.0, 5.0])
    low, high = bootstrap_means(values, 2000, 0.95, 11)
    half = 1.959964 * values.std(axis=0) / 30.0
    np.testing.assert_allclose((high - low) / 2, half, rtol=0.08)
    np.testing.assert_allclose((high + low) / 2, values.mean(axis=0), atol=0.05 * half.max())


def test_single_linkage_joins_chains_and_leaves_singles_out():
    links = np.eye(5)
    for i, j in ((0, 1), (1, 4), (2, 3)):
        links[i, j] = links[j, i] = 0.8
    links[0, 2] = links[2, 0] = 0.69
    assert clustered(list("abcde"), links, 0.7) == (("a", "b", "e"), ("c", "d"))


@given(st.integers(0, 1000))
def test_the_residual_is_the_largest_gap(seed):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(40, 4))
    gap = np.zeros(40)
    gap[int(rng.integers(40))] = 1e-3
    assert additivity_residual(phi, 0.5, phi.sum(axis=1) + 0.5 + gap) == pytest.approx(1e-3, rel=1e-6)
