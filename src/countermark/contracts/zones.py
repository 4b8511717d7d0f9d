"""Time zones of one model must agree: those of the columns that it declares, not of every column of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from countermark.config.contract import Contract
from countermark.config.source import Source
from countermark.contracts.reshape import MAIN
from countermark.errors import ContractError, SourceError

Zones = Mapping[str, Mapping[str, str | None]]
"""Zone of each timestamp column by table and column; None for clock times without a zone."""


def clock_zones(table: pa.Table) -> dict[str, str | None]:
    """Zone of each timestamp column of a table as it was read."""
    return {field.name: field.type.tz for field in table.schema if pa.types.is_timestamp(field.type)}


def mixed_zones(read: Mapping[str, str | None], tables: Mapping[str, pa.Table], source: Source) -> Zones:
    """Zones of the columns that are left after shaping, where they differ; nothing where all agree.

    Args:
        read: Zone of each timestamp column as it was read.
        tables: The shaped tables.
        source: The source, for what it renames and unpivots.

    Raises:
        SourceError: If one unpivoted column is made of columns in several zones.
    """
    named = {source.rename.get(name, name): zone for name, zone in read.items()}
    found: dict[str, dict[str, str | None]] = {
        MAIN: {name: named[name] for name in tables[MAIN].column_names if name in named}
    }
    for plan in source.unpivot:
        inner = {plan.key: named[plan.key]} if plan.key in named else {}
        for new, wide in plan.columns.items():
            zones = {named[name] for name in wide if name in named}
            if len(zones) > 1:
                told = {name: named[name] for name in wide if name in named}
                raise SourceError(
                    f"unpivot '{plan.table}' joins timestamps of several time zones in '{new}'",
                    expected="one zone for all, or clock times without a zone",
                    got=_told(told),
                    hint="convert them to one zone in the export or the query",
                )
            if zones:
                inner[new] = zones.pop()
        found[plan.table] = inner
    differ = len({zone for columns in found.values() for zone in columns.values()}) > 1
    return {table: columns for table, columns in found.items() if columns} if differ else {}


def refuse_mixed_zones(contracts: Iterable[Contract], zones: Zones, *, file: str | None = None) -> None:
    """Refuse contracts that declare timestamps of several zones, or some with a zone and some without.

    Args:
        contracts: The contracts of a model.
        zones: What the manifest of its source says under ``zones``.
        file: Contract file, for the error.

    Raises:
        ContractError: Naming the columns and their zones.
    """
    declared = {
        name if contract.table == MAIN else f"{contract.table}.{name}": zones[contract.table][name]
        for contract in contracts
        for name in contract.columns
        if name in zones.get(contract.table, {})
    }
    if len(set(declared.values())) > 1:
        raise ContractError(
            "timestamp columns of one model are in several time zones",
            expected="one zone for all, or clock times without a zone",
            got=_told(declared),
            hint="convert them to one zone in the export or the query, or leave out what the model does not need",
            file=file,
        )


def _told(zones: Mapping[str, str | None]) -> str:
    return ", ".join(f"'{name}' in {zone or 'no zone'}" for name, zone in zones.items())
