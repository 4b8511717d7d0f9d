"""When a fallen worker is started again."""

from __future__ import annotations

import pytest

from countermark.errors import ServingError
from countermark.serving import supervisor
from countermark.serving.supervisor import FIRST_SECONDS, MOST_SECONDS, SETTLED_SECONDS, BackOff, Supervisor


def test_the_pause_doubles_up_to_a_bound_and_ends_with_a_life_that_lasted() -> None:
    back_off = BackOff()
    waits = [back_off.fell(0, lived=0.5) for _ in range(9)]
    assert waits[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert waits[-1] == MOST_SECONDS == max(waits)
    assert back_off.falls(0) == 9
    assert back_off.fell(1, lived=0.5) == FIRST_SECONDS, "every slot has a count of its own"
    assert back_off.fell(0, lived=SETTLED_SECONDS) == 0.0
    assert back_off.falls(0) == 0
    assert back_off.fell(0, lived=0.5) == FIRST_SECONDS


def test_a_granian_that_is_built_otherwise_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this a renamed loop would bring back the one that ends the service."""
    Supervisor("a:b")
    monkeypatch.setattr(supervisor, "USED", (*supervisor.USED, "_gone_in_the_next_version"))
    with pytest.raises(ServingError, match="this version of Granian is not supported") as told:
        Supervisor("a:b")
    assert "_gone_in_the_next_version" in str(told.value)
