"""Plans of production: the bank's own are right, and a mistake is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from countermark.config.load import model_names
from countermark.config.operations import check_plans, monitor_plans, rollout_plan
from countermark.errors import ConfigError
from countermark.portfolio.bank import bank_files
from countermark.portfolio.compile import compile_bank
from tests.bank import edit, make_bank

ROOT = Path(__file__).parents[2]
MONITOR = """\
name: toy
version: 1.0.0
owner: Olga
source_note: t
maturity_days: 30
limits:
  score_psi: {kind: upper, watch: 0.1, fail: 0.25, source: t}
  calibration: {kind: p_value, watch: 0.05, fail: 0.01, source: t}
kpis:
  approvals:
    meaning: Share approved
    measure: favourable_rate
    limit: {kind: lower, watch: 0.7, fail: 0.6, source: t}
    owner: Karl
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    made = make_bank(tmp_path / "bank", rows=5)
    (made / "conf/monitor").mkdir()
    (made / "conf/monitor/toy.yaml").write_text(MONITOR, encoding="utf-8")
    return made


def test_the_plans_of_the_bank_are_right() -> None:
    names = model_names(ROOT)
    check_plans(ROOT, names)
    assert set(monitor_plans(ROOT)) == set(names)
    assert monitor_plans(ROOT)["card_fraud"].maturity_days == 31
    assert rollout_plan(ROOT, "standard").steps == (0.01, 0.05, 0.25, 0.5)
    assert rollout_plan(ROOT, "parallel_run").kind == "parallel_run"


def test_every_plan_says_where_its_limits_come_from() -> None:
    for plan in monitor_plans(ROOT).values():
        for limit in (*dict(plan.limits).values(), *(kpi.limit for kpi in plan.kpis.values())):
            assert limit is None or limit.source.startswith(("[H] ", "[C] ", "[S] "))


@pytest.mark.parametrize("name", ["standard", "parallel_run"])
def test_a_new_bank_starts_with_the_house_plans(name: str) -> None:
    relative = f"conf/rollout/{name}.yaml"
    assert bank_files("b")[relative] == (ROOT / relative).read_text(encoding="utf-8")


def test_a_bank_without_plans_compiles(tmp_path: Path) -> None:
    compile_bank(make_bank(tmp_path / "bank", rows=5))


TOY, STANDARD = "conf/monitor/toy.yaml", "conf/rollout/standard.yaml"
MISTAKES: dict[str, tuple[str, str, str, int, str]] = {
    "unknown limit": (TOY, "  score_psi:", "  score_psy:", 7, "score_psi"),
    "limits the wrong way round": (TOY, "fail: 0.25", "fail: 0.05", 7, "'fail' must not be below 'watch'"),
    "a p-value for a figure": (TOY, "{kind: upper, watch: 0.1, fail: 0.25", "{kind: p_value, watch: 0.1, fail: 0.05", 7, "p_value"),
    "a figure for a p-value": (TOY, "kind: p_value", "kind: upper", 8, "p_value"),
    "unknown measure": (TOY, "favourable_rate", "approval_rate", 12, "favourable_rate"),
    "no maturity": (TOY, "maturity_days: 30\n", "", 1, "maturity_days"),
    "negative window": (TOY, "maturity_days: 30", "maturity_days: 30\nwindow_days: 0", 6, "window_days"),
    "another name": (TOY, "name: toy", "name: toys", 1, "the plan's name is not its file's name"),
    "steps that fall": (STANDARD, "0.25, 0.5]", "0.25, 0.2]", 8, "'steps' must grow"),
    "a canary without steps": (STANDARD, "step: {min_pairs: 500, min_hours: 12, max_hours: 336}\n", "", 1, "a canary rollout needs 'step'"),
    "no step at all": (STANDARD, "[0.01, 0.05, 0.25, 0.5]", "[]", 8, "'steps' are shares between 0 and 1"),
    "a step in a parallel run": ("conf/rollout/parallel_run.yaml", "alpha: 0.05", "alpha: 0.05\nstep: {min_pairs: 5, max_hours: 3}", 1, "a parallel run has no canary steps"),
    "unknown guard": (STANDARD, "  errors:", "  error:", 11, "errors"),
    "a rate above one": (STANDARD, "limit: 0.002", "limit: 2", 11, "limit"),
    "hours the wrong way round": (STANDARD, "max_hours: 336}\nsteps", "max_hours: 3}\nsteps", 7, "'max_hours' must not be below"),
    "hours without an end": (STANDARD, "max_hours: 336}\nsteps", "max_hours: 1.0e+300}\nsteps", 7, "87600"),
    "twice the same key": (STANDARD, "alpha: 0.05", "alpha: 0.05\nalpha: 0.01", 7, "alpha"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_and_line(bank: Path, mistake: str) -> None:
    compile_bank(bank)
    file, old, new, line, word = MISTAKES[mistake]
    edit(bank / file, old, new)
    with pytest.raises(ConfigError) as caught:
        compile_bank(bank)
    assert caught.value.file == file, str(caught.value)
    assert caught.value.line == line, str(caught.value)
    assert word in str(caught.value)


def test_a_plan_of_no_model_is_refused(bank: Path) -> None:
    (bank / TOY).rename(bank / "conf/monitor/toi.yaml")
    edit(bank / "conf/monitor/toi.yaml", "name: toy", "name: toi")
    with pytest.raises(ConfigError) as caught:
        compile_bank(bank)
    assert (caught.value.file, caught.value.line) == ("conf/monitor/toi.yaml", 1)
    assert "there is no model 'toi' to monitor" in str(caught.value)
    assert "did you mean 'toy'?" in str(caught.value)


def test_a_plan_that_is_not_there_is_told_with_those_that_are(bank: Path) -> None:
    with pytest.raises(ConfigError, match="there is no rollout plan 'standart'") as caught:
        rollout_plan(bank, "standart")
    assert "did you mean 'standard'?" in str(caught.value)
    assert "parallel_run, standard" in str(caught.value)
