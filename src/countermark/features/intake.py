"""Events that reach the bank one by one: held to their table's contract and given to every view that reads them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from countermark.config.contract import Contract
from countermark.config.problems import nearest, one_of
from countermark.config.spec import ModelSpec
from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.online import OnlineStore
from countermark.features.plans import model_views, table_contract
from countermark.features.request import RecordReader


@dataclass(frozen=True, slots=True)
class _Table:
    reader: RecordReader
    plans: tuple[ViewPlan, ...]


class EventIntake:
    """Feeds the feature views of one model.

    An event feeds every view of its table all of whose columns it brings. Where an event may come again, later with
    more columns or because a sender repeats itself, its views need an ``event_key``.

    Args:
        spec: The resolved model.
    """

    def __init__(self, spec: ModelSpec) -> None:
        zone = ZoneInfo(spec.source.time_zone)
        plans = model_views(spec).plans.values()
        self._tables: dict[str, _Table] = {}
        for table in dict.fromkeys(plan.table for plan in plans):
            contract = table_contract(spec, table)
            assert contract is not None  # compiled views have one
            own = tuple(plan for plan in plans if plan.table == table)
            reader = RecordReader(
                f"an event of '{table}'", _open_ended(contract, own), (), tuple(contract.columns), zone
            )
            self._tables[table] = _Table(reader, own)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables whose events feed a view."""
        return tuple(self._tables)

    def ingest(
        self, table: str, event: Mapping[str, Any], store: OnlineStore, known_at: dt.datetime
    ) -> tuple[str, ...]:
        """Take in one event.

        Args:
            table: Table of the source that the event is a row of.
            event: Values by column; columns that no view reads may be left out.
            store: The online store.
            known_at: Instant at which the event reached the bank.

        Returns:
            Names of the views that took it.

        Raises:
            FeatureStoreError: If no view reads the table, or the event has all columns of none.
            RequestError: If a column is unknown, of the wrong type or outside its contract.
        """
        plans = self.plans_for(table, event)
        return tuple(plan.name for plan in plans if store.ingest(plan, event, known_at))

    def plans_for(self, table: str, event: Mapping[str, Any]) -> tuple[ViewPlan, ...]:
        """Views that an event feeds, after it was held to the contract of its table.

        Raises:
            FeatureStoreError: If no view reads the table, or the event has all columns of none.
            RequestError: If a column is unknown, of the wrong type or outside its contract.
        """
        if table not in self._tables:
            raise FeatureStoreError(
                "no feature view reads events of this table",
                expected=one_of(self._tables),
                got=f"'{table}'",
                hint=nearest(table, self._tables),
            )
        known = self._tables[table]
        known.reader.read(event)
        plans = [plan for plan in known.plans if all(name in event for name in plan.event_columns)]
        if not plans:
            raise FeatureStoreError(
                f"an event of '{table}' feeds no feature view",
                expected="all columns of one: "
                + "; ".join(f"{plan.name}: {', '.join(plan.event_columns)}" for plan in known.plans),
                got=", ".join(map(str, event)),
            )
        return tuple(plans)


def _open_ended(contract: Contract, plans: tuple[ViewPlan, ...]) -> Contract:
    """The contract without a last day for the times of its views: a file ends on a day, and events go on after it."""
    times = {name for plan in plans for name in (plan.event_time, plan.view.known_at) if name is not None}
    columns = {
        name: column.model_copy(update={"maximum": None}) if name in times else column
        for name, column in contract.columns.items()
    }
    return contract.model_copy(update={"columns": columns})
