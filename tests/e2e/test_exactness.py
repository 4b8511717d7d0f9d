"""A rebuild from nothing gives the same bytes; and the check that says so can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.shell import commit, lock_text, must, run, shell, toy_bank

pytestmark = pytest.mark.slow
CHECK = Path(__file__).parents[2] / ".ci" / "exactness.py"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bank = toy_bank(tmp_path_factory.mktemp("exact") / "bank")
    must(run(bank, "build", "--all"))
    commit(bank, "built")
    return bank


def test_a_second_build_runs_nothing_and_the_pack_is_there(built: Path) -> None:
    again = must(run(built, "build", "--all"))
    assert "Running stage" not in again
    assert (built / "reports/toy/validation_pack.pdf").read_bytes().startswith(b"%PDF")
    assert (built / "reports/portfolio/portfolio.pdf").read_bytes().startswith(b"%PDF")
    assert must(shell(built, "git", "status", "--porcelain")) == ""


def test_a_throw_away_copy_builds_nothing_anew_and_plays_the_model(built: Path, tmp_path: Path) -> None:
    told = must(
        run(built, "simulate", "traffic", "toy", "--days", "2", "--daily", "20", "--to", str(tmp_path / "life"))
    )
    assert "SYNTHETIC" in told
    assert "✓ without drift, the served vector is that of the row in the data set: 40 of 40 decisions" in told
    assert "8 claims held, 0 failed" in told
    locks = [bank / "models" / "toy" / "dvc.lock" for bank in (built, tmp_path / "life" / "bank")]
    assert locks[0].read_bytes() == locks[1].read_bytes()
    assert must(shell(built, "git", "status", "--porcelain")) == ""
    assert not (built / "ledger").exists()


def test_an_empty_cache_in_another_place_zone_locale_and_core_gives_the_same_lock(built: Path, tmp_path: Path) -> None:
    clone = tmp_path / "a b" / "clone"
    clone.parent.mkdir()
    must(shell(tmp_path, "git", "clone", "-q", str(built), str(clone)))
    one_core = [sys.executable, "-c", _ONE_CORE]
    done = shell(clone, *one_core, TZ="Pacific/Chatham", LC_ALL="C", LANG="tr_TR.UTF-8", PYTHONHASHSEED="77")
    must(done)
    assert lock_text(clone) == lock_text(built)
    assert must(shell(clone, "git", "status", "--porcelain")) == ""


OLD_PROCESSOR = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-ERMS",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NUMBA_CPU_NAME": "nehalem",
    "NUMBA_CPU_FEATURES": "",
}
"""Libraries choose their kernels by processor; these make them choose as on one without AVX and fused multiply-add."""


def test_the_kernels_of_another_processor_give_the_same_lock(built: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    must(shell(tmp_path, "git", "clone", "-q", str(built), str(clone)))
    must(shell(clone, sys.executable, "-m", "dvc", "repro", **OLD_PROCESSOR))
    assert lock_text(clone) == lock_text(built)


_ONE_CORE = """
import os, subprocess, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.exit(subprocess.run([sys.executable, "-m", "dvc", "repro"]).returncode)
"""


def test_a_planted_nondeterministic_stage_fails_the_exactness_check(built: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    must(shell(tmp_path, "git", "clone", "-q", str(built), str(bank)))
    must(shell(bank, "dvc", "cache", "dir", "--local", str(built / ".dvc" / "cache")))
    must(shell(bank, "dvc", "checkout"))
    honest = shell(bank, sys.executable, str(CHECK), str(bank))
    assert honest.returncode == 0, honest.stdout[-3000:]
    assert "every stage ran from an empty cache" in honest.stdout

    path = bank / "dvc.yaml"
    document = yaml.safe_load(path.read_text())
    script = "import os; open('noise.bin', 'wb').write(os.urandom(8))"
    document["stages"]["noise"] = {"cmd": f'python -c "{script}"', "outs": ["noise.bin"]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    must(shell(bank, "dvc", "repro", "noise"))
    commit(bank, "noise")
    planted = shell(bank, sys.executable, str(CHECK), str(bank))
    assert planted.returncode == 1, planted.stdout[-3000:]
    assert "git status is not clean" in planted.stdout
    assert "noise.bin" in planted.stdout


def test_a_changed_formula_without_a_semantics_bump_fails_the_exactness_check(built: Path, tmp_path: Path) -> None:
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(_CHANGED_FORMULA)
    changed = shell(built, sys.executable, str(CHECK), str(built), PYTHONPATH=str(patch))
    assert changed.returncode == 1, changed.stdout[-3000:]
    assert "git status is not clean" in changed.stdout
    assert "evidence.json" in changed.stdout


_CHANGED_FORMULA = """
import importlib.abc, importlib.machinery, sys

class Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "countermark.metrics.stability":
            return None
        sys.meta_path.remove(self)
        found = importlib.machinery.PathFinder.find_spec(name, path)
        run = found.loader.exec_module
        def changed(module):
            run(module)
            module.psi = _wrong(module.psi)
        found.loader.exec_module = changed
        return found

def _wrong(original):
    import dataclasses
    def psi(*args, **kwargs):
        result = original(*args, **kwargs)
        return dataclasses.replace(result, value=None if result.value is None else result.value * 1.01)
    return psi

sys.meta_path.insert(0, Patch())
"""


def test_an_edit_is_used_or_refused_never_ignored(built: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    must(shell(tmp_path, "git", "clone", "-q", str(built), str(bank)))
    must(shell(bank, "dvc", "cache", "dir", "--local", str(built / ".dvc" / "cache")))
    must(shell(bank, "dvc", "checkout"))
    decision = bank / "conf/decision/toy.yaml"
    decision.write_text(decision.read_text().replace("cutoff: 0.3", "cutoff: 0.35"))
    refused = shell(bank, "dvc", "repro")
    assert refused.returncode != 0
    assert "run countermark compile" in refused.stdout + refused.stderr
    used = must(run(bank, "build", "toy"))
    assert "Running stage 'models/toy/dvc.yaml:evidence'" in used
    assert "Running stage 'models/toy/dvc.yaml:train'" not in used
    assert '"cutoff": 0.35' in (bank / "reports/toy/pack.json").read_text()
