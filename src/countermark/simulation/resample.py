"""Customers drawn anew from a model's own accepted rows, with their history, at another time. SYNTHETIC traffic.

A customer is a row of the bank's own data, drawn with replacement, under new ids; the events that its feature views
saw come before its request, all moved by the same time. Nobody is invented, and no real sequence of customers is kept.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.problems import nearest, one_of
from countermark.config.spec import ModelSpec
from countermark.contracts.reshape import ROW
from countermark.contracts.tables import read_table
from countermark.errors import SimulationError
from countermark.features.definitions import ViewPlan
from countermark.features.times import clock_time, instant, local_day, microseconds, read_time
from countermark.features.vector import VectorBuilder
from countermark.portfolio.compile import read_spec
from countermark.portfolio.dag import OUT
from countermark.records.clock import iso
from countermark.simulation.drift import Drift, drifted
from countermark.simulation.traffic import Application, Event

OPENS, CLOSES = 8 * 3600, 20 * 3600
"""Office hours, in seconds of the day: when customers come whose rows have no time of day."""

DEFAULT_LABEL_DAYS = 30
"""Days until an outcome, for a model that declares no horizon."""

_IDS = 1 << 16
"""New ids that one application may need."""


@dataclass(frozen=True)
class ModelRows:
    """What a bank holds of a model.

    Attributes:
        spec: The resolved model.
        tables: Accepted rows by table.
        dataset: The modelling data set.
        protected: ``_key`` and the group name of every protected attribute.
    """

    spec: ModelSpec
    tables: Mapping[str, pa.Table]
    dataset: pa.Table
    protected: pa.Table


def read_rows(root: Path, model: str) -> ModelRows:
    """Read the rows of a built model.

    Raises:
        SimulationError: If there is no such model.
        StaleError: If it is not compiled.
        SourceError: If it is not built.
    """
    known = sorted(path.parent.name for path in (root / "models").glob("*/params.yaml"))
    if model not in known:
        raise SimulationError(
            f"there is no model '{model}'", expected=one_of(known), got=f"'{model}'", hint=nearest(model, known)
        )
    spec, _ = read_spec(root, model)
    out = root / OUT.format(model=model)
    return ModelRows(
        spec=spec,
        tables={path.stem: read_table(path) for path in sorted((out / "accepted").glob("*.parquet"))},
        dataset=read_table(out / "dataset.parquet"),
        protected=read_table(out / "protected.parquet"),
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """One drawn customer.

    Attributes:
        number: Which of all, from 0.
        day: Day of the life, from 0.
        row: Place among the rows of the sample.
        second: Second of the day, for a row without a time of day.
        delay: How long after the request the bank learns of the outcome.
    """

    number: int
    day: int
    row: int
    second: int
    delay: dt.timedelta


@dataclass(frozen=True, slots=True)
class Names:
    """How drawn customers are called, so that they are nobody whom the service has seen.

    Attributes:
        prefix: Start of every text id.
        first: First number.
    """

    prefix: str = "sim"
    first: int = 1


class Resampler:
    """Draws customers of a model and places them in time. Pure: it holds rows and changes nothing.

    Attributes:
        sample: Name of the sample that customers are drawn from.
        size: Rows of the sample.
        horizon: How long after a request its outcome happens.
        assumed: Whether neither the model nor the caller states it.

    Args:
        rows: What the bank holds of the model.
        seed: The same seed draws the same life.
        sample: Sample of the data set; the newest otherwise: out-of-time, or else hold-out.
        drifts: Planted drifts.
        label_days: Days until the outcome; the model's horizon otherwise.
        names: How customers are called.

    Raises:
        SimulationError: If the data set has no such sample, or the model's rows are not among the accepted ones.
    """

    def __init__(
        self,
        rows: ModelRows,
        *,
        seed: int,
        sample: str | None = None,
        drifts: Sequence[Drift] = (),
        label_days: float | None = None,
        names: Names | None = None,
    ) -> None:
        spec = rows.spec
        self.spec = spec
        self.builder = VectorBuilder(spec)
        self.names = names or Names()
        self.drifts = tuple(drifts)
        self.sample = _sample(rows.dataset, sample)
        self.zone = ZoneInfo(spec.source.time_zone)
        days = label_days if label_days is not None else _horizon_days(spec)
        self.assumed = label_days is None and spec.outcome.horizon_months is None
        self.horizon = dt.timedelta(days=days)
        self._seed = seed
        self._dataset = rows.dataset.filter(pc.equal(rows.dataset.column("_sample"), self.sample))
        self._main = rows.tables[spec.data.table]
        self._place = _places(self._main, spec.source.row_key or ROW, self._dataset.column("_key"))
        self._groups = _groups(rows.protected, self._dataset.column("_key"))
        self._plans: dict[str, list[ViewPlan]] = {}
        for plan in self.builder.plans:
            self._plans.setdefault(plan.table, []).append(plan)
        self._events = {
            (plan.table, plan.entity): _ByEntity(rows.tables[plan.table], plan.entity) for plan in self.builder.plans
        }
        self._tables = rows.tables
        self._hours = self._keeps_hours()

    @property
    def size(self) -> int:
        """Rows of the sample."""
        return int(self._dataset.num_rows)

    def _keeps_hours(self) -> bool:
        time = self.spec.data.time
        clocked = any(not plan.by_day for plan in self.builder.plans)
        return time is not None and (clocked or pa.types.is_timestamp(self._main.column(time).type))

    def draw(self, days: int, daily: int) -> list[list[Draw]]:
        """The customers of each day; a longer life begins like a shorter one."""
        found = []
        for day in range(days):
            rng = np.random.default_rng([self._seed, 7, day])
            chosen = rng.integers(0, self.size, daily)
            seconds = rng.integers(OPENS, CLOSES, daily)
            late = rng.exponential(0.1, daily)
            found.append(
                [
                    Draw(
                        number=day * daily + k,
                        day=day,
                        row=int(chosen[k]),
                        second=int(seconds[k]),
                        delay=self.horizon + dt.timedelta(seconds=round(self.horizon.total_seconds() * float(late[k]))),
                    )
                    for k in range(daily)
                ]
            )
        return found

    def row(self, draw: Draw) -> dict[str, Any]:
        """The accepted row that was drawn."""
        found: dict[str, Any] = self._main.slice(int(self._place[draw.row]), 1).to_pylist()[0]
        return found

    def vector(self, draw: Draw) -> dict[str, float | str | None]:
        """The row's inputs as the data set has them."""
        found: dict[str, Any] = self._dataset.select(list(self.spec.features)).slice(draw.row, 1).to_pylist()[0]
        return found

    def outcome(self, draw: Draw) -> float:
        """The row's outcome as the data set has it."""
        return float(self._dataset.column("_y")[draw.row].as_py())

    def drifts_of(self, draw: Draw) -> tuple[Drift, ...]:
        """Drifts that the customer comes under."""
        return tuple(drift for drift in self.drifts if draw.day >= drift.day)

    def instant(self, draw: Draw, first: dt.date) -> dt.datetime:
        """When the customer comes, in a life that begins on a date of the source's calendar."""
        day = dt.datetime.combine(first, dt.time()) + dt.timedelta(days=draw.day)
        was = self._time(self.row(draw)) if self._hours else None
        if was is None:
            return instant(clock_time(day + dt.timedelta(seconds=draw.second), self.zone))
        shown = instant(was).astimezone(self.zone).time()
        return instant(clock_time(dt.datetime.combine(day, shown), self.zone))

    def place(self, draw: Draw, at: dt.datetime) -> Application:
        """The customer's request at an instant, with the history that the bank has by then."""
        row = self.row(draw)
        now = microseconds(at)
        # A row without a time is not moved: nobody knows from where.
        moved = _Moved(now if (was := self._time(row)) is None else was, now, self.zone)
        fresh = _Fresh(self.names, draw.number)
        keys = {*self.builder.views.keys.values(), *([self.spec.data.entity] if self.spec.data.entity else [])}
        drifts = self.drifts_of(draw)
        request = {name: moved.value(row[name]) for name in self.builder.fields}
        for drift in drifts:
            if drift.table is None:
                request[drift.field] = drifted(request[drift.field], drift.factor)
        request |= {name: fresh.of(row[name]) for name in request if name in keys}
        about = self.spec.data.entity
        identity = f"{self.names.prefix}-{draw.number:06d}"
        return Application(
            id=identity,
            at=at,
            request=request,
            entity=str(request[about]) if about in request else identity,
            groups={name: group for name, of in self._groups.items() if (group := of[draw.row]) is not None},
            outcome=self.outcome(draw),
            horizon=self.horizon,
            delay=draw.delay,
            history=tuple(
                Event(f"{identity}-e{k}", known, table, event)
                for k, (known, table, event) in enumerate(
                    sorted(self._history(row, moved, fresh, drifts), key=lambda one: one[0])
                )
            ),
        )

    def _time(self, row: Mapping[str, Any]) -> int | None:
        """When the row was asked for, in microseconds; None where nothing says so."""
        asked = row[self.spec.data.time] if self.spec.data.time is not None else self.spec.data.observed_at
        return None if asked is None else read_time(asked, self.zone, by_day=False)

    def _history(
        self, row: Mapping[str, Any], moved: _Moved, fresh: _Fresh, drifts: Sequence[Drift]
    ) -> Iterator[tuple[dt.datetime, str, dict[str, Any]]]:
        """When the bank had each event of the row's entities, its table, and its columns."""
        for table, plans in self._plans.items():
            found = [self._events[table, plan.entity].rows(row[self.builder.views.keys[plan.name]]) for plan in plans]
            places = np.unique(np.concatenate(found))
            columns = list(dict.fromkeys(name for plan in plans for name in plan.event_columns))
            for event in self._tables[table].select(columns).take(pa.array(places)).to_pylist():
                seen = [(plan, known) for plan in plans if (known := _known(plan, event, moved.was)) is not None]
                if seen:
                    had = instant(moved.now + max(known for _, known in seen))
                    yield had, table, _told(event, [plan for plan, _ in seen], moved, fresh, drifts)


def _told(
    event: Mapping[str, Any], plans: Sequence[ViewPlan], moved: _Moved, fresh: _Fresh, drifts: Sequence[Drift]
) -> dict[str, Any]:
    """The columns that somebody knows by then, under new ids, at the new time."""
    renamed = {name for plan in plans for name in (plan.entity, plan.view.event_key) if name is not None}
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for plan in plans for name in plan.event_columns):
        found[name] = fresh.of(event[name]) if name in renamed else moved.value(event[name])
    for drift in drifts:
        if drift.table == plans[0].table and drift.field in found:
            found[drift.field] = drifted(found[drift.field], drift.factor)
    return found


def _known(plan: ViewPlan, event: Mapping[str, Any], at: int) -> int | None:
    """When a view knew of an event, in microseconds before its request (0 or less); None if it did not by then."""
    happened, learned = event[plan.event_time], event[plan.view.known_at or plan.event_time]
    if happened is None or learned is None or event[plan.entity] is None:
        return None
    limit = plan.on_clock(at)
    known = read_time(learned, plan.zone, by_day=plan.by_day) + plan.known_delay
    time = read_time(happened, plan.zone, by_day=plan.by_day)
    return known - limit if known <= limit and time <= limit else None


class _Moved:
    """From the time of a row to the time of its request: instants by the difference, dates by whole days."""

    def __init__(self, was: int, now: int, zone: ZoneInfo) -> None:
        self.was, self.now = was, now
        self._days = dt.timedelta(microseconds=local_day(now, zone) - local_day(was, zone))

    def value(self, value: Any) -> Any:
        """A value as JSON takes it; a date or time is moved."""
        if isinstance(value, dt.datetime):
            return iso(instant(microseconds(value) + self.now - self.was))
        if isinstance(value, dt.date):
            return (value + self._days).isoformat()
        return None if isinstance(value, float) and np.isnan(value) else value


class _Fresh:
    """New ids of one application: the same for the same old id."""

    def __init__(self, names: Names, number: int) -> None:
        self._names, self._number = names, number
        self._known: dict[Any, int | str] = {}

    def of(self, value: Any) -> Any:
        """The new id of an old one."""
        if value is None:
            return None
        if value not in self._known:
            place = len(self._known)
            if place >= _IDS:
                raise SimulationError(
                    "a drawn customer has too much history", expected=f"fewer than {_IDS:,} ids of events and entities"
                )
            number = self._names.first + self._number * _IDS + place
            self._known[value] = number if isinstance(value, int) else f"{self._names.prefix}{self._number}.{place}"
        return self._known[value]


class _ByEntity:
    """Places of an entity's rows in a table."""

    def __init__(self, table: pa.Table, column: str) -> None:
        encoded = table.column(column).combine_chunks().dictionary_encode()
        codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
        self._codes = {value: code for code, value in enumerate(encoded.dictionary.to_pylist())}
        self._order: NDArray[np.int64] = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]

    def rows(self, value: Any) -> NDArray[np.int64]:
        """Places, ascending; none for an unknown entity or None."""
        code = self._codes.get(value)
        if code is None:
            return np.empty(0, dtype=np.int64)
        low, high = np.searchsorted(self._sorted, [code, code + 1])
        return self._order[low:high]


def _sample(dataset: pa.Table, wanted: str | None) -> str:
    known = sorted(set(dataset.column("_sample").to_pylist()))
    if wanted is None:
        return "out_of_time" if "out_of_time" in known else "holdout"
    if wanted not in known:
        raise SimulationError(
            f"the data set has no sample '{wanted}'",
            expected=one_of(known),
            got=f"'{wanted}'",
            hint=nearest(wanted, known),
        )
    return wanted


def _horizon_days(spec: ModelSpec) -> float:
    months = spec.outcome.horizon_months
    return DEFAULT_LABEL_DAYS if months is None else round(months * 365.25 / 12)


def _places(main: pa.Table, key: str, wanted: pa.ChunkedArray) -> NDArray[np.int64]:
    found = pc.index_in(wanted, value_set=main.column(key).cast(pa.string()).combine_chunks())
    if found.null_count:
        raise SimulationError(
            "rows of the data set are not among the accepted rows",
            expected="a data set made of models/NAME/out/accepted",
            got=f"{found.null_count} without one",
            hint="countermark build",
        )
    return np.asarray(found.to_numpy(), dtype=np.int64)


def _groups(protected: pa.Table, keys: pa.ChunkedArray) -> dict[str, list[str | None]]:
    names = [name for name in protected.column_names if name != "_key"]
    places = pc.index_in(keys, value_set=protected.column("_key").combine_chunks()) if names else None
    return {name: protected.column(name).take(places).to_pylist() for name in names}
