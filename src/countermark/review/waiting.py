"""What waits for one person: the tasks of the release log, and the findings of production that are theirs."""

from __future__ import annotations

from collections.abc import Iterable

from countermark.records.lights import Light
from countermark.records.watch import LiveFinding
from countermark.registry.inbox import Task, reaches
from countermark.registry.state import RegistryState


def waiting(state: RegistryState, who: str, findings: Iterable[LiveFinding]) -> tuple[Task, ...]:
    """Tasks of a person, decisions first, findings of production last, the failed ones before the others.

    Args:
        state: The fold of the release log.
        who: A principal or a person.
        findings: Findings of production as they stand; closed ones are left out.

    Raises:
        RegistryError: If the governance state knows nobody of that name.
    """
    own = [f for f in findings if f.status != "closed" and reaches(state, who, f.owner)]
    ordered = sorted(own, key=lambda f: (f.light is not Light.FAIL, f.model, f.id))
    return (
        *state.tasks(who),
        *(
            Task("monitor", f.id, f"{f.model}: {f.light.word}, {f.text} (as of {f.at[:10]}, open since {f.since[:10]})")
            for f in ordered
        ),
    )
