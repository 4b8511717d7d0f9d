"""Who answers a request: the pure function between catalog and routing table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from countermark.records.routing import ModelRoute, RoutingTable
from countermark.serving.catalog import Catalog
from countermark.serving.router import NO_TABLE, route

AT = "2026-01-01T00:00:00.000000Z"


def _catalog(*versions: str) -> Catalog:
    releases = {version: SimpleNamespace(version=version) for version in versions}
    return Catalog({"m": cast(Any, releases)} if versions else {}, (), 1, None)


def _answers(catalog: Catalog, planned: ModelRoute | None, entity: str = "E1") -> str | None:
    table = NO_TABLE if planned is None else RoutingTable(version=1, at=AT, models={"m": planned})
    target = route(catalog, table, "m", entity)
    return None if target is None else cast(Any, target.release).version


TURNED_BACK = ModelRoute(champion="1.0.0")


@pytest.mark.parametrize(
    ("served", "planned", "answers"),
    [
        (("1.0.0", "2.0.0"), None, "1.0.0"),
        (("1.0.0", "2.0.0"), TURNED_BACK, "1.0.0"),
        (("2.0.0",), TURNED_BACK, None),
        (("2.0.0",), ModelRoute(champion=None, fallbacks=("1.0.0",)), None),
        (("1.0.0", "3.0.0"), ModelRoute(champion="2.0.0", fallbacks=("1.0.0",)), "1.0.0"),
        (("3.0.0",), ModelRoute(champion="2.0.0", fallbacks=("1.0.0",)), None),
        ((), TURNED_BACK, None),
    ],
)
def test_only_the_champion_and_those_before_it_answer(
    served: tuple[str, ...], planned: ModelRoute | None, answers: str | None
) -> None:
    assert _answers(_catalog(*served), planned) == answers


def test_a_candidate_whose_champion_is_gone_keeps_to_its_own_share() -> None:
    planned = ModelRoute(champion="1.0.0", candidate="2.0.0", share=0.25, shadow=True, rollout="m-1", stage="canary")
    found = [_answers(_catalog("2.0.0"), planned, f"E{k}") for k in range(2000)]
    assert set(found) == {"2.0.0", None}
    assert 0.2 < found.count("2.0.0") / 2000 < 0.3
