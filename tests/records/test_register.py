"""The vocabulary of the register and the house policy say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from countermark.config.policy import Policy
from countermark.config.policy_check import policy_problems
from countermark.config.yamlfile import read_yaml
from countermark.records.register import registered_limits, registered_tests

REPOSITORY = Path(__file__).parents[2]
HOUSE = REPOSITORY / "conf/policy/standard.yaml"
TEMPLATE = REPOSITORY / "src/countermark/portfolio/bank_template/conf/policy/standard.yaml"


def house() -> Policy:
    return Policy.model_validate(read_yaml(HOUSE, "conf/policy/standard.yaml").data)


def test_the_house_policy_sets_every_limit_and_no_other() -> None:
    policy = house()
    assert set(policy.limits) == set(registered_limits())
    assert {
        name: limit.kind for name, limit in policy.limits.items() if limit.kind not in registered_limits()[name].kinds
    } == {}
    assert list(policy_problems(policy)) == []


def test_a_new_bank_starts_with_the_house_policy() -> None:
    assert TEMPLATE.read_bytes() == HOUSE.read_bytes()


@pytest.mark.parametrize("registered", [registered_tests, registered_limits])
def test_ids_are_given_once(registered: object) -> None:
    name = "tests.yaml" if registered is registered_tests else "limits.yaml"
    text = (REPOSITORY / "src/countermark/records/data" / name).read_text(encoding="utf-8")
    ids = [line.split("id: ")[1].split(",")[0] for line in text.splitlines() if line.startswith("- {id: ")]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(registered())  # type: ignore[operator]


def test_a_p_value_and_a_count_are_not_judged_alike() -> None:
    limits = registered_limits()
    assert limits["cal.jeffreys"].kinds == ("p_value",)
    assert limits["cal.oe_ratio"].kinds == ("band",)
    assert set(limits["data.overlap"].kinds) == {"exact", "upper"}


LEVEL = {"pd": True, "propensity": True, "fraud": False, "aml": False, "lgd": False, "ead": False}


@pytest.mark.parametrize("kind", LEVEL)
def test_the_level_of_the_probability_gates_where_the_probability_enters_the_decision(kind: str) -> None:
    rule = house().gating["cal.oe_ratio"]
    assert (kind in rule.kinds) is LEVEL[kind]
    assert rule.when == "always"
