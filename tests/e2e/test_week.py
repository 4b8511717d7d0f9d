"""The working week of the architecture, typed as it stands there: four people, three clones, one remote, one model."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bank import edit
from tests.e2e.shell import init_bank, must, run, shell
from tests.registry.people import key

pytestmark = pytest.mark.slow

REF = "sme_pd@v1.0.0"
ROWS = 1200
PEOPLE = {"dana": "developer", "vera": "validator", "rik": "risk", "eli": "engineer", "olga": "owner"}
PERSONS = {"dana": "Dana Developer", "vera": "Vera Validator", "rik": "Rik Risk", "eli": "Eli Engineer", "olga": "Olga Owner"}  # fmt: skip
ANSWERS = {
    "owner: Unanswered, developer: Unanswered": "owner: Olga Owner, developer: Dana Developer, validator: Vera Validator",
    "'Unanswered: title of sme_pd'": "Default of small firms",
    "natural_persons: true": "natural_persons: false",
    "exposure: medium": "exposure: low",
    "purpose: medium": "purpose: low",
    "complexity: medium": "complexity: low",
    "interconnection: medium": "interconnection: low",
    "iterations: 100": "iterations: 40",
    "trials: 5": "trials: 2",
}


@dataclass(frozen=True)
class Person:
    """Somebody with a clone of the bank and a key."""

    name: str
    clone: Path

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """``countermark ARGS`` in the person's clone."""
        return run(self.clone, *args, GIT_CONFIG_GLOBAL="/dev/null")

    def does(self, *args: str) -> str:
        """Output of ``countermark ARGS``, which has to succeed."""
        return must(self.run(*args))

    def refused(self, *args: str) -> str:
        """What ``countermark ARGS`` says, which has to be refused."""
        done = self.run(*args)
        assert done.returncode not in (0, 1), done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def types(self, *command: str) -> str:
        """Output of a program of the person's shell."""
        return must(shell(self.clone, *command, GIT_CONFIG_GLOBAL="/dev/null"))


def firms(path: Path) -> None:
    """Loans of small firms over three years, with an outcome that can be learnt."""
    rng = np.random.default_rng(11)
    turnover, leverage = rng.gamma(3.0, 200.0, ROWS).round(1), rng.gamma(2.0, 1.5, ROWS).round(2)
    years = rng.integers(1, 40, ROWS)
    margin = -1.6 - 0.001 * (turnover - 600) + 0.45 * (leverage - 3) - 0.03 * (years - 20)
    columns = {
        "loan_id": [f"S{i:05d}" for i in range(ROWS)],
        "opened": [date(2021, 1, 1) + timedelta(days=int(d)) for d in np.linspace(0, 1100, ROWS)],
        "turnover": turnover,
        "leverage": leverage,
        "years_active": years,
        "sector": rng.choice(["Trade", "Services", "Building"], ROWS),
        "default": (rng.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(int),
    }
    pq.write_table(pa.table(columns), path)


def person(name: str, clone: Path) -> Person:
    """Set up a person's git: name, signing key, upstream of a new branch."""
    made = Person(name, clone)
    for setting, value in (
        ("user.name", PERSONS[name]),
        ("user.email", f"{name}@example.org"),
        ("user.signingkey", str(key(name).path)),
        ("push.autoSetupRemote", "true"),
    ):
        made.types("git", "config", setting, value)
    return made


def found_bank(folder: Path) -> tuple[Person, Person, Person]:
    """A bank with a remote, a shared DVC cache, a log, and clones of a developer, a validator and an engineer."""
    dana = person("dana", init_bank(folder / "dana"))
    dana.types("git", "init", "-q", "--bare", "-b", "main", str(folder / "bank.git"))
    dana.types("git", "remote", "add", "origin", str(folder / "bank.git"))
    dana.types("dvc", "config", "cache.dir", str(folder / "cache"))
    keys = dana.clone / "governance" / "keys"
    keys.mkdir(parents=True)
    lines = []
    for name, role in PEOPLE.items():
        (keys / f"{name}.pub").write_text(key(name).path.with_name(f"{name}.pub").read_text())
        lines.append(f"  {name}: {{person: {PERSONS[name]}, roles: [{role}], keys: [keys/{name}.pub]}}")
    charter = "quorum: {1: [validator, risk], 2: [validator], 3: [validator]}\namendment_quorum: 2\nconflicts: []\n"
    (dana.clone / "governance" / "governance.yaml").write_text("principals:\n" + "\n".join(lines) + "\n" + charter)
    dana.types("git", "add", "-A")
    dana.types("git", "commit", "-qm", "The bank")
    dana.types("git", "push", "-q")
    root = re.search(r"[0-9a-f]{64}", dana.does("governance", "init", "--key", str(key("rik").path)))
    assert root is not None
    others = []
    for name in ("vera", "eli"):
        dana.types("git", "clone", "-q", str(folder / "bank.git"), str(folder / name))
        others.append(person(name, folder / name))
        assert root[0] in others[-1].does("governance", "trust", root[0])
    return dana, others[0], others[1]


def monday(dana: Person) -> list[str]:
    """The developer makes a model of a file and proposes it; returns the gating tests that wait for a waiver."""
    firms(dana.clone / "sme.parquet")
    told = dana.does("new", "model", "sme_pd", "--kind", "pd", "--data", "sme.parquet")
    assert "open questions" in told
    assert "wrote conf/monitor/sme_pd.yaml" in told
    for old, new in ANSWERS.items():
        edit(dana.clone / "conf" / "model" / "sme_pd.yaml", old, new)
    edit(dana.clone / "conf" / "model" / "sme_pd.md", "## model\n\n? Why", "## model\n\nIt estimates a probability.\n\n? Why")  # fmt: skip
    assert "10 of 10 stages" in dana.does("plan", "sme_pd")
    assert "reports/sme_pd/validation_pack.pdf" in dana.does("build", "sme_pd")
    dana.types("git", "switch", "-c", "sme_pd")
    assert "not committed" in dana.refused("release", "propose", "sme_pd")
    dana.types("git", "add", "-A")
    dana.types("git", "commit", "-qm", "A model of small firms")
    dana.types("git", "push")
    told = dana.does("release", "propose", "sme_pd")
    assert f"{REF} proposed (new model, tier 3)" in told
    assert "asks for approval as validator: vera" in told
    dana.refused("release", "approve", REF)
    return re.findall(r"^    (\S+) \(.*\) (?:Fail|Not evaluated)", told, re.MULTILINE)


def wednesday(vera: Person, waits: list[str]) -> None:
    """The validator looks, reproduces, opens a finding and approves on a condition."""
    told = vera.does("inbox")
    assert f"dana proposes {REF} (tier 3" in told
    assert f"countermark release approve {REF}" in told
    fetched = vera.does("release", "fetch", REF, "--to", "review/")
    assert "review/validation_pack.pdf" in fetched
    assert {"pack.json", "dataset.parquet", "scorer.json"} <= {path.name for path in (vera.clone / "review").iterdir()}
    assert "FAIL" not in vera.does("verify", "review/validation_pack.pdf")
    told = vera.does("reproduce", REF)
    assert re.search(r"ok +results", told)
    assert "DIFF" not in told
    assert "Running stage 'models/sme_pd/dvc.yaml:train'" in told
    told = vera.does("finding", "open", REF, "--severity", "high", "--test", "cal.jeffreys", "--text", "Grade 7 is off")
    assert "stops approval and publication" in told
    rik = ("--key", str(key("rik").path))
    if waits:
        tests = [word for test in waits for word in ("--test", test)]
        until = (date.today() + timedelta(days=90)).isoformat()
        vera.does("finding", "waive", REF, *tests, "--reason", "Known", "--expires", until, *rik)
    until = (date.today() + timedelta(days=181)).isoformat()
    told = vera.does("release", "approve", REF, "--condition", "recalibrate grade 7", "--expires", until)
    assert "approved as validator" in told
    assert "recalibrate grade 7 (owner Olga Owner" in told
    assert f"next: countermark release publish {REF}" in told


def friday(dana: Person, eli: Person) -> None:
    """The engineer publishes; a first release answers without a rollout, and status says so."""
    assert "engineer" in dana.refused("release", "publish", REF)
    assert f"countermark release publish {REF}" in eli.does("inbox")
    eli.types("git", "pull", "-q", "origin", "sme_pd")
    eli.types("git", "push", "-q")
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = eli.does("release", "publish", REF)
    assert f"{REF} published" in told
    assert "authorised for prod" in told
    assert "first release of sme_pd" in eli.does("rollout", "start", REF)
    eli.does("rollout", "watch", "sme_pd")
    assert "there is no rollout" in eli.does("rollout", "watch", "sme_pd", "--once")
    told = eli.does("status", "--at", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert re.search(r"authorised +v1\.0\.0\n +live +v1\.0\.0", told)
    assert re.search(r"authorised +nothing\n +live +nothing", eli.does("status", "--at", before))


def tuesday(dana: Person, vera: Person, eli: Person) -> None:
    """A week of decisions is monitored, reviewed and replayed; the minutes are signed."""
    cases = pq.read_table(dana.clone / "sme.parquet").slice(0, 250).select(["loan_id", "turnover", "leverage", "years_active", "sector"])  # fmt: skip
    pq.write_table(cases, eli.clone / "cases.parquet")
    told = eli.does(
        "score", "--release", "sme_pd", "--input", "cases.parquet", "--output", "decided.csv", "--id", "loan_id",
    )  # fmt: skip
    assert "decided 250, refused 0; every decision is on the ledger" in told
    assert "250 decisions" in eli.does("monitor", "run", "--all")
    tomorrow = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()
    eli.refused("monitor", "run", "--all", "--as-of", tomorrow)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert f"{REF}  " in eli.does("monitor", "run", "--all", "--as-of", now)
    told = eli.does("review", "prepare")
    assert "1 production models" in told
    assert "200 of 200 replayed decisions identical" in told
    told = eli.does("replay", "--sample", "200")
    assert "200 identical to the last bit, 0 different" in told
    assert f"answered by {REF}" in told
    (folder,) = (eli.clone / "reviews").iterdir()
    assert "attendance" in eli.refused("review", "record")
    edit(folder / "minutes.yaml", "attendance: []", "attendance: [Vera Validator, Eli Engineer]")
    due = (datetime.now(UTC).date() + timedelta(days=30)).isoformat()
    edit(
        folder / "minutes.yaml",
        "actions: []",
        f"actions:\n  - {{text: Recalibrate grade 7, owner: dana, due: {due}, model: sme_pd}}",
    )
    assert f"Dana Developer, {due}: Recalibrate grade 7" in eli.does("review", "record")
    assert "this needs owner or auditor or risk or validator" in eli.refused("review", "sign")
    signed = eli.does("review", "sign", "--key", str(key("vera").path))
    assert f"review {folder.name} signed by vera" in signed
    assert re.search(rf"action +.*Recalibrate grade 7.*{due}", dana.does("inbox"))
    assert "Recalibrate" not in vera.does("inbox")
    watched = json.loads(eli.does("monitor", "show", "--json"))
    assert isinstance(watched, list)


def test_the_week(tmp_path: Path) -> None:
    dana, vera, eli = found_bank(tmp_path)
    waits = monday(dana)
    wednesday(vera, waits)
    friday(dana, eli)
    tuesday(dana, vera, eli)
