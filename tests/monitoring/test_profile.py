"""The reference profile: counts that add up, bins of equal shares, and where reasons are measured from."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import MonitoringError, ScorerError
from countermark.metrics.discrimination import auc
from countermark.monitoring.profile import ProfileRows, categorical_profile, make_profile, numeric_profile
from countermark.records.decision import decode, encode
from countermark.records.digest import round_significant
from countermark.records.profile import ReferenceProfile
from tests.serving.releases import columns, pd_spec, policy, scorer

SPEC = pd_spec()
SCORER = scorer(SPEC)
POLICY = policy(tuple(SPEC.features))


def rows(name: str, n: int, seed: int, **changes: Any) -> ProfileRows:
    table = columns(SPEC, n, seed)
    p = SCORER.probability(SCORER.margin(table))
    y = (np.random.default_rng(seed).random(n) < p).astype(np.int8)
    sex = np.array(["f", "m", None], dtype=object)[np.arange(n) % 3]
    known: dict[str, Any] = {
        "name": name, "features": table, "y": y, "p": p, "grade": SCORER.grade(p), "groups": {"sex": sex},
    }  # fmt: skip
    return ProfileRows(**{**known, **changes})


HOLDOUT, DEVELOPMENT = rows("holdout", 600, 1), rows("development", 500, 2)


def made(reference: ProfileRows = HOLDOUT, development: ProfileRows = DEVELOPMENT, *, free: bool = False) -> Any:
    return make_profile("toy_pd", SCORER, None if free else POLICY, reference, development)


def test_counts_add_up() -> None:
    profile = made()
    assert (profile.model, profile.sample, profile.n) == ("toy_pd", "holdout", 600)
    assert set(profile.numeric) == {"income", "dti", "age"}
    for one in (*profile.numeric.values(), profile.score):
        assert sum(one.counts) + one.missing == 600
        assert len(one.counts) == len(one.edges) + 1
    purpose = profile.categorical["purpose"]
    assert sum(purpose.counts) + purpose.other + purpose.missing == 600
    assert sum(profile.grades.values()) == 600
    sexes = profile.groups["sex"]
    assert {name: group.n for name, group in sexes.items()} == {"f": 200, "m": 200}
    p, y = HOLDOUT.p, HOLDOUT.y
    assert profile.favourable == int((p < POLICY.cutoff).sum())
    assert sexes["f"].favourable == int((p[0::3] < POLICY.cutoff).sum())
    assert sexes["f"].events == int(y[0::3].sum())
    assert profile.events == int(y.sum())


def test_performance_has_intervals() -> None:
    profile, found = made(), auc(HOLDOUT.y, HOLDOUT.p)
    assert found.value is not None
    assert found.interval is not None
    known = profile.performance["auc"]
    assert (known.value, known.low, known.high) == tuple(
        round_significant(number, 9) for number in (found.value, *found.interval)
    )
    squares = (HOLDOUT.p - HOLDOUT.y) ** 2
    brier = profile.performance["brier"]
    assert brier.value == pytest.approx(squares.mean())
    assert brier.high - brier.value == pytest.approx(1.96 * squares.std(ddof=1) / np.sqrt(600), rel=1e-3)


def test_reasons_are_measured_from_the_mean_of_favourable_development_rows() -> None:
    phi, _ = SCORER.contributions(DEVELOPMENT.features)
    good = DEVELOPMENT.p < POLICY.cutoff
    assert 0 < good.sum() < 500
    for k, name in enumerate(SCORER.input_names):
        known = float.fromhex(made().reason_reference[name])
        assert known == pytest.approx(phi[good, k].mean(), rel=1e-8, abs=1e-12)
        assert float.fromhex(made(free=True).reason_reference[name]) == pytest.approx(phi[:, k].mean(), rel=1e-8)


def test_importance_is_the_mean_size_of_contributions() -> None:
    phi, _ = SCORER.contributions(HOLDOUT.features)
    expected = dict(zip(SCORER.input_names, np.abs(phi).mean(axis=0).tolist(), strict=True))
    assert made().importance == pytest.approx(expected)


def test_without_a_policy_everything_is_favourable() -> None:
    assert made(free=True).favourable == 600


def test_amounts_have_no_events_and_no_ranks() -> None:
    profile = made(rows("holdout", 300, 1, y=np.linspace(0, 1, 300)))
    assert (profile.events, profile.performance) == (None, {})
    assert {group.events for group in profile.groups["sex"].values()} == {None}


def test_one_class_has_no_ranks() -> None:
    assert set(made(rows("holdout", 300, 1, y=np.zeros(300, dtype=np.int8))).performance) == {"brier"}


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(MonitoringError, match="a reference profile needs rows"):
        made(rows("holdout", 0, 1))


def test_development_without_a_favourable_row_is_refused() -> None:
    with pytest.raises(ScorerError):
        made(development=rows("development", 50, 2, p=np.full(50, 0.9)))


def test_it_is_read_as_it_was_written() -> None:
    profile = made()
    assert decode(encode(profile), ReferenceProfile) == profile
    with pytest.raises(msgspec.ValidationError):
        decode(encode(profile).replace(b'"sample"', b'"simple"'), ReferenceProfile)


def test_bins_have_about_equal_shares() -> None:
    values = np.random.default_rng(1).normal(size=10_000)
    values[::10] = np.nan
    profile = numeric_profile(values, 10)
    assert profile.counts == (900,) * 10
    assert profile.missing == 1000
    assert (profile.minimum, profile.maximum) == (np.nanmin(values), np.nanmax(values))


@given(st.lists(st.one_of(st.none(), st.floats(-100, 100), st.sampled_from([0.0, 1.0])), max_size=60))
def test_every_row_is_in_one_bin(given: list[float | None]) -> None:
    values = np.array([np.nan if v is None else v for v in given], dtype=np.float64)
    profile = numeric_profile(values, 4)
    assert sum(profile.counts) + profile.missing == len(given)
    assert profile.missing == given.count(None)
    assert list(profile.edges) == sorted(set(profile.edges))
    edges = [-np.inf, *profile.edges, np.inf]
    for count, low, high in zip(profile.counts, edges, edges[1:], strict=False):
        assert count == int(((values > low) & (values <= high)).sum())


def test_a_column_without_values_has_no_ends() -> None:
    profile = numeric_profile(np.full(3, np.nan), 10)
    assert (profile.edges, profile.counts, profile.missing, profile.minimum) == ((), (0,), 3, None)


def test_levels_that_a_scorer_does_not_know_are_counted_apart() -> None:
    values = np.array(["b", "a", None, "moon", "a", "A"], dtype=object)
    profile = categorical_profile(values, ("a", "b", "c"))
    assert (profile.counts, profile.other, profile.missing) == ((2, 1, 0), 2, 1)
