"""Which release answers whom: the routing table, and the bucket of an entity."""

from __future__ import annotations

import hashlib
from typing import Literal

from countermark.records.decision import Closed

BUCKETS = 2**32
"""Buckets of an entity: 0 to 2**32 - 1."""


class ModelRoute(Closed, frozen=True, kw_only=True):
    """How the requests of one model are shared.

    Attributes:
        champion: Version that answers whom the candidate does not; None where no release has earned it.
        fallbacks: Versions that answered everybody before, newest first: while the champion may not be served, the
            first of these that may stands in. A version that was turned back, or was never ramped, is not among them.
        candidate: Version under rollout, or None.
        share: Share of entities that the candidate answers, 0 to 1.
        shadow: Whether champion and candidate each score in shadow what the other answers.
        challenger: Version that is scored in shadow for as long as it stands, or None.
        rollout: Id of the rollout in force, or None.
        stage: Its stage.
    """

    champion: str | None
    fallbacks: tuple[str, ...] = ()
    candidate: str | None = None
    share: float = 0.0
    shadow: bool = False
    challenger: str | None = None
    rollout: str | None = None
    stage: str | None = None

    @property
    def proven(self) -> tuple[str, ...]:
        """Versions that answer, or answered, everybody, newest first."""
        return self.fallbacks if self.champion is None else (self.champion, *self.fallbacks)


class RoutingTable(Closed, frozen=True, kw_only=True):
    """The routes of every model that has one, numbered without gaps.

    A model without a route is answered by the release that was authorised first.
    """

    format: Literal["countermark/routing/1"] = "countermark/routing/1"
    version: int
    at: str
    models: dict[str, ModelRoute]


def bucket_of(rollout: str, sticky: str) -> int:
    """Bucket of an entity in a rollout: the same on every worker, and independent between rollouts.

    Args:
        rollout: Id of the rollout.
        sticky: The entity, or the decision's id where there is no entity.

    Returns:
        Integer in [0, 2**32): the first four bytes, big-endian, of SHA-256 of ``ROLLOUT:STICKY``.
    """
    return int.from_bytes(hashlib.sha256(f"{rollout}:{sticky}".encode()).digest()[:4], "big")


def takes_candidate(bucket: int, share: float) -> bool:
    """Whether a bucket is answered by the candidate. A larger share keeps all buckets of a smaller one."""
    return bucket < share * BUCKETS
