"""``serve --groups``: the leader of rollouts judges approval by protected group, which no decision record holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.config.rollout import RolloutPlan
from countermark.errors import SourceError
from tests.serving.releases import ReleaseBank
from tests.serving.servers import serving
from tests.serving.test_rollout import Traffic, records, start, wait_for


def plan() -> RolloutPlan:
    """The guard of groups and no other."""
    return RolloutPlan.model_validate(
        {
            "name": "groups",
            "version": "1",
            "source_note": "n",
            "shadow": {"min_pairs": 60, "max_hours": 5 / 3600},
            "steps": [0.5],
            "step": {"min_pairs": 60, "max_hours": 1},
            "guards": {"group_approval": {"limit": 0.1, "min_pairs": 10}},
        }
    )


@pytest.mark.parametrize("at_hand", [True, False], ids=["with groups", "without"])
def test_a_release_that_declines_a_group_is_turned_back_where_the_groups_are(
    bank: ReleaseBank, tmp_path: Path, at_hand: bool
) -> None:
    """Release 3 declines nearly everybody; without the groups the same rollout passes no stage, and says why."""
    groups, folder = tmp_path / "groups.csv", str(tmp_path / "ledger")
    groups.write_text("entity,sex\n" + "".join(f"c{k},{'fm'[k % 2]}\n" for k in range(300)))
    more = ("--groups", str(groups)) if at_hand else ()
    with serving(bank.folder, bank.trust_root, ledger=folder, more=more) as server, Traffic(server):
        start(bank, folder, "3.0.0", plan())
        ended = wait_for(folder, {"rolled_back", "completed", "inconclusive"})[-1]
    verdicts = {reading.guard: reading.verdict for reading in ended.readings}
    if at_hand:
        assert ended.type == "rolled_back"
        assert "group_approval sex=" in ended.reason
        assert "fail" in verdicts.values()
        assert set(verdicts) == {"group_approval sex=f", "group_approval sex=m"}
    else:
        assert (ended.type, ended.stage) == ("inconclusive", "shadow")
        assert verdicts == {"group_approval": "not evaluated"}
        assert "not evaluated: group_approval (no protected groups are at hand)" in ended.reason
    assert not any("sex" in record.features or "sex" in record.request for record in records(folder, "decision"))


@pytest.mark.parametrize(
    ("text", "match"),
    [("name,sex\nc1,f\n", "this is no table of groups"), ("entity,sex\nc1,f\nc1,m\n", "an entity is there twice")],
)
def test_groups_that_cannot_be_read_are_refused_before_a_worker_starts(
    bank: ReleaseBank, tmp_path: Path, text: str, match: str
) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text(text)
    done = CliRunner().invoke(
        app,
        ["serve", "--releases", str(bank.folder), "--trust-root", bank.trust_root, "--insecure",
         "--ledger", str(tmp_path / "ledger"), "--groups", str(groups)],
    )  # fmt: skip
    assert isinstance(done.exception, SourceError), json.dumps(done.output)
    assert match in str(done.exception)
    assert not (tmp_path / "ledger").exists()
