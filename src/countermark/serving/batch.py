"""Decisions for files: the same releases, checks, records and bits as over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from countermark.errors import FeatureStoreError, RegistryError, ScorerError, ServingError
from countermark.features.plans import table_contract
from countermark.features.request import RequestError
from countermark.ledger.entry import Item
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord, Value
from countermark.records.release import ReleaseRef
from countermark.serving.release import ServedRelease
from countermark.serving.requests import DecisionRequest
from countermark.serving.service import DecisionService, Prepared, same_case

BATCH = 512
"""Decisions of one durable transaction."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}").fullmatch
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?").fullmatch
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """What became of one case.

    Attributes:
        row: The case.
        record: Its decision; None if it was refused.
        refused: Why it was refused: fields and rules, never values.
        known: Whether the decision was on the ledger before.
    """

    row: DecisionRequest
    record: DecisionRecord | None
    refused: str = ""
    known: bool = False


class FileScorer:
    """Decides on the cases of a file.

    With ``release`` that release decides; otherwise the routing table says who, and whoever does not answer while a
    rollout or a parallel run is under way is recorded as a shadow, as over HTTP.

    Args:
        service: The decision service.
        ledger: Where to record; None to record nothing.
        model: Name of the model.
        as_of: Instant of all cases; the present otherwise. Who decides, and whether it may, is judged by the present.
        release: The release, pinned.

    Raises:
        ServingError: If nothing of the model may be served, the instant lies in the future, or the pinned release was
            turned back or never ramped and its decisions are to be recorded.
        RegistryError: If the pinned release is not authorised.
    """

    def __init__(
        self,
        service: DecisionService,
        ledger: Ledger | None,
        model: str,
        as_of: datetime | None = None,
        release: ReleaseRef | None = None,
    ) -> None:
        self._service, self._ledger, self._model, self._as_of = service, ledger, model, as_of
        self._now = service.clock.now() if as_of is None else as_of
        if self._now > service.clock.now():
            raise ServingError(
                "cases are not decided in advance", expected="an instant that has come", got=iso(as_of or self._now)
            )
        self._pinned = None if release is None else _pinned(service, release)
        if release is not None and ledger is not None:
            _require_proven(service, release)
        first = self._pinned or service.champion(model)
        if first is None:
            raise service.not_served(model)
        contract = table_contract(first.spec, first.spec.data.table)
        assert contract is not None  # the release's vector builder needed it
        self.types = {name: column.type for name, column in contract.columns.items()}
        self.fields = first.builder.fields
        self.entity_column = first.spec.data.entity

    def check_columns(self, columns: Iterable[str], *, own: Iterable[str] = (), file: Path | None = None) -> None:
        """Refuse columns that the model's contract does not know.

        Args:
            columns: Columns of the file.
            own: Columns that say which case it is.
            file: The file, for the message.

        Raises:
            ServingError: Naming them.
        """
        unknown = [name for name in columns if name not in self.types and name not in set(own)]
        if unknown:
            raise ServingError(
                f"the file has columns that the contract of '{self._model}' does not know",
                expected="columns among: " + ", ".join(self.types),
                got=", ".join(f"'{name}'" for name in unknown[:20]),
                hint="remove them, or name the column with the id of a case with --id",
                file=file,
            )

    def request_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of a request among the values of a case; a field without a value is left out."""
        return {name: values[name] for name in self.fields if values.get(name) is not None}

    def typed(self, name: str, text: str) -> Value:
        """A value of a text file as its contract types it; what does not fit stays text and is refused later."""
        if text == "":
            return None
        kind = self.types.get(name)
        if kind == "integer" and _WHOLE(text):
            return int(text)
        if kind == "number" and _NUMBER(text):
            return float(text)
        if kind == "boolean":
            return _TRUTH.get(text.lower(), text)
        return text

    def score(self, rows: Iterable[DecisionRequest]) -> Iterator[ScoredRow]:
        """Decide case by case, in order; what is yielded is durable.

        Raises:
            LedgerError: If decisions cannot be recorded; those yielded before are.
            FeatureStoreError: If the feature store does not answer.
        """
        stream = iter(rows)
        while batch := list(islice(stream, BATCH)):
            yield from self._recorded([(row, self._decided(row)) for row in batch])

    def _decided(self, row: DecisionRequest) -> Prepared | str:
        try:
            made = self._service.prepare(self._model, row, channel="file", now=self._now, pinned=self._pinned)
        except RequestError as error:
            return "; ".join(f"{problem.field}: {problem.rule}" for problem in error.problems)
        except ScorerError as error:
            return error.what
        return made if self._as_of is None else self._known_then(made)

    def _known_then(self, made: Prepared) -> Prepared | str:
        """A decision as of a past instant, if its release and its features may be of that instant."""
        since = made.target.release.authorisation.at
        if self._now < since:
            raise ServingError(
                f"{made.target.release.ref} decides nothing before it was authorised",
                expected=f"--as-of {iso(since)} or later",
                got=made.record.at,
            )
        late = [view.view for view in made.record.views if view.as_of > made.record.at]
        if late:
            return f"{late[0]}: the feature store no longer tells what was known of this entity at {made.record.at}"
        return made

    def _recorded(self, batch: list[tuple[DecisionRequest, Prepared | str]]) -> list[ScoredRow]:
        made = [found for _, found in batch if isinstance(found, Prepared)]
        stored: dict[int, DecisionRecord] = {}
        if self._ledger is not None and made:
            # An entry says when it was written, its record which instant it is of.
            at = iso(self._service.clock.now())
            items: list[Item] = [("decision", one.record.id, one.payload, at) for one in made]
            # In one transaction: whoever counts on a decision's shadow finds both or neither.
            items += [
                ("shadow", one.ask.id, self._service.shadow_payload(one.ask, release, planned), at)
                for one in made
                for release, planned in one.target.shadows
            ]
            for one, ref in zip(made, self._ledger.append_many(items), strict=False):
                if ref.repeated:
                    known = self._service.stored(one.record.id)
                    assert known is not None  # the ledger has just named it
                    stored[id(one)] = known
        return [self._scored(row, found, stored.get(id(found))) for row, found in batch]

    def _scored(self, row: DecisionRequest, found: Prepared | str, known: DecisionRecord | None) -> ScoredRow:
        if isinstance(found, str):
            return ScoredRow(row, None, found)
        if known is None:
            return ScoredRow(row, found.record)
        if not same_case(known, found.record):
            return ScoredRow(row, None, "id: used for another request")
        if self._pinned is not None and known.release != self._pinned.binding:
            return ScoredRow(row, None, f"id: decided before by {known.model}@v{known.release.version}")
        if self._as_of is not None and known.at != found.record.at:
            return ScoredRow(row, None, f"id: decided before as of {known.at}")
        return ScoredRow(row, known, known=True)


def _pinned(service: DecisionService, release: ReleaseRef) -> ServedRelease:
    versions = service.catalog.models.get(release.model, {})
    if release.version not in versions:
        why = [refusal.reason for refusal in service.catalog.refused if refusal.release == str(release)]
        raise RegistryError(
            f"'{release}' may not be served",
            expected="one of: " + ", ".join(str(known.ref) for known in versions.values())
            if versions
            else f"an authorised release of '{release.model}'; there is none",
            got=why[0].splitlines()[0] if why else "no authorisation",
        )
    return versions[release.version]


def _require_proven(service: DecisionService, release: ReleaseRef) -> None:
    planned = service.table.models.get(release.model)
    if planned is not None and release.version not in planned.proven:
        raise ServingError(
            f"'{release}' was turned back or never ramped: it makes no decisions",
            expected="one of: " + ", ".join(f"v{version}" for version in planned.proven),
            hint=f"bring it in (countermark rollout start {release}), or try it without a record: --no-record",
        )


def store_of(service: DecisionService, model: str) -> None:
    """Refuse a model that reads feature views where there is no store, before a file is begun.

    Raises:
        FeatureStoreError: If it does.
    """
    champion = service.champion(model)
    if champion is not None and champion.builder.plans and service.store is None:
        raise FeatureStoreError(f"model '{model}' reads feature views", hint="name the store with --features URL")
