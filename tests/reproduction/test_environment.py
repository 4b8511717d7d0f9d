"""The environment of a commit: made by its hashes, of that version, and of nothing that happens to lie around."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from countermark.errors import ReplayError
from countermark.governance.access import open_registry
from countermark.reproduction.reproduce import _venv, assumptions
from tests.e2e.shell import commit, must, run, shell, toy_bank
from tests.registry.people import governance, key

REPOSITORY = Path(__file__).parents[2]


def wheel(folder: Path, name: str, version: str) -> Path:
    """A package of one module."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{file},{_record_hash(text)},{len(text)}" for file, text in files.items()]
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,", ""])}.items():
            archive.writestr(file, text)
    return path


def _record_hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit that locks one package, which lies in a folder; another version of it lies on PYTHONPATH."""
    wheels, astray, bank = tmp_path / "wheels", tmp_path / "astray", tmp_path / "bank"
    for folder in (wheels, astray, bank / "models" / "toy"):
        folder.mkdir(parents=True)
    made = wheel(wheels, "leafpkg", "1.2.0")
    (astray / "leafpkg.py").write_text('VERSION = "9.9.9"\n')
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    (bank / "requirements.lock").write_text(f"leafpkg==1.2.0 --hash=sha256:{digest}\n")
    (bank / "models" / "toy" / "params.yaml").write_text("libraries: {leafpkg: 1.2.0}\n")
    monkeypatch.setenv("PYTHONPATH", str(astray))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    return bank


def test_the_locked_packages_are_installed_and_nothing_else_is_imported(bank: Path, tmp_path: Path) -> None:
    told: list[str] = []
    python = _venv(bank, tmp_path / "made", told.append)
    assert [line.split()[-2:] for line in told][-1] == ["-r", str(bank / "requirements.lock")]
    assert not (tmp_path / "elsewhere").exists()
    alone = subprocess.run(
        [str(python), "-I", "-c", "import leafpkg; print(leafpkg.VERSION, leafpkg.__file__)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert alone[0] == "1.2.0"
    assert alone[1].startswith(str(tmp_path / "made" / "venv"))
    assert assumptions(bank, "toy", python) == ()
    assert assumptions(bank, "toy") == ("leafpkg 1.2.0 there, none here",)

    (bank / "models" / "toy" / "params.yaml").write_text("libraries: {leafpkg: 1.3.0, numpy: 2.0.0}\n")
    (bank / ".python-version").write_text("3.9.1\n")
    differs = assumptions(bank, "toy", python)
    assert differs[:2] == ("leafpkg 1.3.0 there, 1.2.0 here", "numpy 2.0.0 there, none here")
    assert differs[2].startswith("Python 3.9 there")

    (bank / "requirements.lock").write_text(f"leafpkg==1.2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ReplayError, match="could not be installed") as refused:
        _venv(bank, tmp_path / "refused", told.append)
    assert "DO NOT MATCH THE HASHES" in str(refused.value)


@pytest.mark.soak
def test_a_release_comes_out_again_in_its_own_environment(tmp_path: Path) -> None:
    """Everything that the commit locks is fetched by its hashes and installed, with the Countermark of that commit."""
    bank = toy_bank(tmp_path / "bank")
    for name in ("requirements.lock", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, bank / name)
    shutil.copytree(REPOSITORY / "src", bank / "src", ignore=shutil.ignore_patterns("__pycache__"))
    must(run(bank, "build", "toy"))
    commit(bank, "built")
    registry = open_registry(bank)
    must(
        shell(
            bank, "git", "config", "countermark.trustRoot", registry.log.begin(key("rik"), governance(), registry.now)
        )
    )
    must(run(bank, "release", "propose", "toy", "--key", str(key("dana").path)))

    astray = tmp_path / "astray"
    astray.mkdir()
    (astray / "catboost.py").write_text("raise ImportError('a module that lies around')\n")
    kept = tmp_path / "kept"
    told = must(
        run(bank, "reproduce", "toy@v1.0.0", "--environment", "venv", "--keep", str(kept), PYTHONPATH=str(astray))
    )
    assert told.count("ok  ") == 4, told
    assert "DIFF" not in told, told
    assert "differs from that version's environment" not in told, told
    where = must(
        shell(kept, str(kept / "venv" / "bin" / "python"), "-c", "import countermark; print(countermark.__path__)")
    )
    assert str(kept / "venv" / "lib") in where, "that version, not the one that is installed here"
    assert (kept / "clone" / "reports/toy/validation_pack.pdf").read_bytes() == (
        bank / "reports/toy/validation_pack.pdf"
    ).read_bytes()
