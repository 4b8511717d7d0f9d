"""Online feature store: one packed state per entity and version of a view, replaced as a whole or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.reading import FeatureRow, Generation

DEFAULT_URL = "sqlite:///.countermark/features.sqlite"
"""Where a bank's features are materialized unless told otherwise; relative to the bank's root."""


class OnlineStore(Protocol):
    """Where the states of entities live."""

    def read(self, plan: ViewPlan, entity: str | int | None, now: dt.datetime) -> FeatureRow:
        """Features of an entity as of now; of an unknown entity or None, what an entity without events has.

        Raises:
            FeatureStoreError: If this version of the view was never published, or the store cannot be reached.
        """

    def ingest(self, plan: ViewPlan, event: Mapping[str, Any], known_at: dt.datetime) -> bool:
        """Take in one event that reached the bank at ``known_at``.

        Returns:
            Whether the event has an entity and a time, so that a request may ever see it.

        Raises:
            FeatureStoreError: If the event lacks a column or holds what its type cannot, if this version of the view
                was never published, or the store cannot be reached.
        """

    def publish(self, plan: ViewPlan, states: Iterable[tuple[str, bytes]], as_of: dt.datetime) -> Generation:
        """Replace all states of this version of the view at once.

        Events that reached the store after ``as_of`` are kept. Readers see the old states until the last moment, and
        go on seeing them if the publishing process dies.

        Args:
            plan: The view.
            states: Entity and packed state, each entity once.
            as_of: Instant up to which the states are complete.

        Raises:
            FeatureStoreError: If another publication of the same version came first, or the store cannot be reached.
        """

    def generations(self) -> tuple[Generation, ...]:
        """What is published, by view and version."""

    def entities(self, plan: ViewPlan) -> tuple[str, ...]:
        """Entities with a state, ascending.

        Raises:
            FeatureStoreError: If this version of the view was never published.
        """

    def close(self) -> None:
        """Let go of connections."""


def open_store(url: str) -> OnlineStore:
    """Open a store.

    Args:
        url: ``sqlite:///path`` (relative to the working directory; four slashes for an absolute path) or
            ``redis://host:port/db``.

    Raises:
        FeatureStoreError: Unknown kind of URL, or the store cannot be reached.
    """
    if url.startswith("sqlite:///"):
        from countermark.features.sqlite_store import SqliteStore

        return SqliteStore(url.removeprefix("sqlite:///"))
    if url.startswith(("redis://", "rediss://", "unix://")):
        from countermark.features.redis_store import RedisStore

        return RedisStore(url)
    kind = url.partition(":")[0]
    raise FeatureStoreError(
        "there is no feature store of this kind",
        expected="sqlite:///path, redis://host:port/db, rediss://..., or unix://path",
        got=f"'{kind}:'" if ":" in url else "no kind",
    )
