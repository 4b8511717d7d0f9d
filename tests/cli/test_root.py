from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from countermark.cli.root import app
from tests.bank import make_bank

ALLOWED = {"click", "countermark"}
_SCRIPT = """
import json, sys
before = set(sys.modules)
from countermark.cli.root import app
try:
    app.main(["--help"], prog_name="countermark")
except SystemExit:
    pass
new = {name.split(".")[0] for name in set(sys.modules) - before}
sys.stderr.write(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""


def test_help_imports_click_and_nothing_of_the_house_but_errors() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    third_party = set(json.loads(done.stderr))
    assert third_party <= ALLOWED | {"_distutils_hack"}, third_party
    assert "Commands:" in done.stdout
    for word in ("init", "new", "compile", "plan", "explain", "build"):
        assert f"  {word} " in done.stdout
    assert "stage" not in done.stdout.split("Commands:")[1].split()[::2]


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["complie"])
    assert result.exit_code == 2
    assert "Did you mean 'compile'?" in result.output


def _run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "countermark"), *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_outside_a_bank_the_message_says_where_to_go(tmp_path: Path) -> None:
    done = _run(tmp_path, "compile")
    assert done.returncode == 2
    assert "not inside a bank" in done.stderr
    assert "countermark init DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_compile_check_explain_and_plan_through_the_installed_command(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank")
    stale = _run(bank, "compile", "--check")
    assert stale.returncode == 2
    assert "run 'countermark compile'" in stale.stderr
    assert _run(bank, "compile").returncode == 0
    assert "up to date" in _run(bank, "compile", "--check").stdout
    assert "conf/model/toy.yaml:" in _run(bank / "conf", "explain", "toy.learner.depth").stdout
    assert "never built" in _run(bank, "plan", "toy").stdout
    nothing = _run(bank, "build")
    assert nothing.returncode == 2
    assert "model names, or --all" in nothing.stderr
