"""G3 on a sound model, on a scorer that breaks its declared direction, and the grid that finds every border."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from countermark.records.evidence import Figure, Table, section_light
from countermark.records.lights import Light
from countermark.scoring.format import build
from countermark.scoring.frozen import FrozenScorer
from countermark.validation.border_grid import border_grid
from countermark.validation.effects import effect_shapes
from countermark.validation.inputs import EvidenceInput
from tests.validation.builders import WEIGHTS, make_inputs, make_spec, spec_document


def test_a_sound_model_keeps_its_directions() -> None:
    section = effect_shapes(make_inputs())
    assert section_light(section.rows) is Light.PASS
    assert section.extras == {"directions_declared": 4, "directions_broken": []}
    gating = {r.segment for r in section.rows if r.gating}
    assert gating == {*WEIGHTS, *(f"{name}: largest drop" for name in WEIGHTS)}


def test_the_effect_of_an_additive_input_is_its_weight() -> None:
    inputs = make_inputs()
    section = effect_shapes(inputs)
    width = next(r for r in section.rows if r.test_id == "xai.pdp_ale" and r.segment == "arrears")
    values = inputs.test.features["arrears"]
    assert width.statistic == pytest.approx(WEIGHTS["arrears"] * np.ptp(values))
    assert not width.gating


def test_figures_show_the_effect_on_the_probability_and_levels_as_bars() -> None:
    section = effect_shapes(make_inputs())
    figures = [b for b in section.blocks if isinstance(b, Figure)]
    assert [f.id for f in figures] == [f"G3-F{k}" for k in range(1, 6)]
    assert figures[-1].chart == "bars"
    assert set(figures[-1].series[0].x) == {"car", "debt", "home", "other"}
    assert figures[0].caption.startswith("utilisation moves the probability")
    assert all(len(f.alt) > 40 for f in figures)


def test_a_non_monotone_scorer_turns_the_section_red() -> None:
    section = effect_shapes(make_inputs(non_monotone=1.0))
    red = {r.segment for r in section.rows if r.light is Light.FAIL}
    assert red == {"utilisation", "utilisation: largest drop"}
    assert section_light(section.rows) is Light.FAIL
    assert section.extras["directions_broken"] == ["utilisation"]
    assert section.conclusion.startswith("The declared direction of utilisation is broken")
    table = next(b for b in section.blocks if isinstance(b, Table))
    assert table.rows[0]["input"] == "utilisation"
    assert int(str(table.rows[0]["against"])) > 0


def test_a_declared_direction_that_is_the_wrong_way_round_is_red() -> None:
    features = spec_document()["features"]
    features["tenure"] = features["tenure"] | {"expected": "increasing"}
    section = effect_shapes(make_inputs(spec=make_spec(features=features)))
    share = next(r for r in section.rows if r.segment == "tenure" and r.test_id == "xai.monotonicity")
    assert (share.statistic, share.light) == (1.0, Light.FAIL)


def test_without_a_declared_direction_nothing_gates() -> None:
    features = {k: v | {"expected": "none"} for k, v in spec_document()["features"].items()}
    section = effect_shapes(make_inputs(spec=make_spec(features=features)))
    assert section_light(section.rows) is Light.INFORMATION
    assert "No input declares a direction" in section.conclusion


@pytest.mark.parametrize("n", [0, 8, 60])
def test_tiny_samples_never_pass(n: int) -> None:
    section = effect_shapes(make_inputs(n))
    judged = [r for r in section.rows if r.test_id == "xai.monotonicity"]
    assert {r.light for r in judged} == {Light.NOT_EVALUATED}
    assert section_light(section.rows) is Light.NOT_EVALUATED


def test_an_input_that_never_varies_is_not_evaluated() -> None:
    inputs = make_inputs(2000)
    samples = {
        role: replace(s, features=dict(s.features) | {"tenure": np.zeros(s.n)}) for role, s in inputs.samples.items()
    }
    section = effect_shapes(replace(inputs, samples=samples))
    rows = [r for r in section.rows if r.segment.startswith("tenure")]
    assert {r.light for r in rows} == {Light.NOT_EVALUATED}
    assert any("single value" in (r.n_reason or "") for r in rows)


def test_arrays_are_not_written() -> None:
    inputs = make_inputs(1200)
    for sample in inputs.samples.values():
        for values in (*sample.features.values(), sample.p, sample.margin, sample.y):
            values.flags.writeable = False
    effect_shapes(inputs)


def _document(model: dict[str, Any]) -> FrozenScorer:
    return FrozenScorer(
        build(
            {
                "format": "countermark/scorer/1",
                "inputs": [{"name": "x", "type": "numeric"}, {"name": "z", "type": "numeric"}],
                "model": model,
            }
        )
    )


def _bump_trees() -> FrozenScorer:
    """A step up at 1 and, in a sliver of 1e-4 at 2, a step down: no quantile would find it."""
    sliver = float(np.float32(2.0001))
    trees = [
        {"splits": [[0, "gt", 1.0]], "leaves": [0.0, 1.0], "weights": [1.0, 1.0]},
        {"splits": [[0, "gt", 2.0], [0, "gt", sliver]], "leaves": [0.0, -0.5, 0.0, 0.0], "weights": [1.0] * 4},
        {"splits": [[1, "gt", 5.0]], "leaves": [0.0, 1.0], "weights": [1.0, 1.0]},
    ]
    return _document({"kind": "trees", "trees": trees})


def test_the_grid_has_a_point_in_every_cell_of_a_tree() -> None:
    grid = border_grid(_bump_trees(), "x", np.array([0.0, 10.0]))
    np.testing.assert_allclose(grid[:-1], [1.0, 1.0, 2.0, 2.0001], rtol=1e-6)
    cells = np.searchsorted([1.0, 2.0, float(np.float32(2.0001))], grid, side="left")
    assert set(cells) == {0, 1, 2, 3}


def test_a_violation_in_a_sliver_between_two_borders_is_found() -> None:
    inputs = make_inputs(400)
    features = {"x": {"meaning": "x", "expected": "increasing"}, "z": {"meaning": "z"}}
    samples = {
        role: replace(s, features={"x": np.linspace(0, 4, s.n), "z": np.linspace(0, 9, s.n)})
        for role, s in inputs.samples.items()
    }
    spec = make_spec(features=features)
    planted = replace(inputs, spec=spec, samples=samples, scorer=cast(FrozenScorer, _bump_trees()))
    section = effect_shapes(cast(EvidenceInput, planted))
    share = next(r for r in section.rows if r.segment == "x" and r.test_id == "xai.monotonicity")
    assert share.light is Light.FAIL
    # One of the steps between the grid points goes down, in every row.
    table = next(b for b in section.blocks if isinstance(b, Table))
    assert table.rows[0]["affected"] == 1.0


def test_the_grid_of_bins_and_of_clipped_terms() -> None:
    points = {"factor": 20.0, "offset": 600.0}
    bins = {
        "kind": "numeric", "input": 0, "edges": [1.0, 3.0], "woe": [0.1, 0.2, 0.3], "missing_woe": 0.0,
        "coefficient": 1.0, "background": 0.0,
    }  # fmt: skip
    card = _document({"kind": "scorecard", "intercept": 0.0, "characteristics": [bins], "points": points})
    grid = border_grid(card, "x", np.array([0.0, 10.0]))
    assert set(np.searchsorted([1.0, 3.0], grid, side="right")) == {0, 1, 2}
    np.testing.assert_array_equal(border_grid(card, "z", np.array([0.0, 10.0])), [0.0, 10.0])
    term = {
        "kind": "standardised", "input": 0, "mean": 0.0, "scale": 1.0, "coefficient": 1.0, "background": 0.0,
        "fill": 0.0, "clip": [-2.0, 2.0],
    }  # fmt: skip
    linear = _document({"kind": "linear", "intercept": 0.0, "terms": [term]})
    grid = border_grid(linear, "x", np.array([-5.0, 0.0, 5.0]))
    assert {-5.0, -2.0, 0.0, 2.0, 5.0} <= set(grid)
