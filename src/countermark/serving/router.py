"""Who answers a request: the routing table of the ledger, over the releases that may be served."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from countermark.errors import ServingError
from countermark.ledger.ledger import Ledger
from countermark.records.decision import Route
from countermark.records.routing import RoutingTable, bucket_of, takes_candidate
from countermark.rollout.events import WRITER
from countermark.serving.catalog import Catalog
from countermark.serving.release import ServedRelease

NO_TABLE = RoutingTable(version=0, at="1970-01-01T00:00:00.000000Z", models={})
"""Before any rollout: every model is answered by the release that was authorised first."""


Arm: TypeAlias = Literal["champion", "candidate", "challenger"]


class Target(msgspec.Struct, frozen=True):
    """Who answers, and who is scored in shadow.

    While a rollout runs, whoever of champion and candidate does not answer is scored in shadow, so that every decision
    makes a pair.
    """

    release: ServedRelease
    route: Route
    shadows: tuple[tuple[ServedRelease, Route], ...]


def read_table(ledger: Ledger) -> RoutingTable:
    """The newest routing table of the controller: what another chain holds is no table.

    Raises:
        ServingError: If the entry is no routing table.
    """
    entry = ledger.latest("routing", chain=WRITER)
    if entry is None:
        return NO_TABLE
    try:
        return msgspec.json.decode(entry.payload, type=RoutingTable)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServingError(
            f"entry {entry.seq} of chain '{entry.chain}' is no routing table",
            got=str(error)[:200],
            hint="verify the ledger: countermark ledger verify",
        ) from None


def champion_of(catalog: Catalog, table: RoutingTable, model: str) -> ServedRelease | None:
    """The release that answers whom no candidate answers; None if nothing of the model may answer.

    Where a release that the table names may not be served, the newest one that answered everybody before stands in. A
    release that was turned back, or was never ramped, does not.
    """
    planned = table.models.get(model)
    if planned is None:
        return catalog.standing(model)
    releases = catalog.models.get(model, {})
    return next((releases[version] for version in planned.proven if version in releases), None)


def route(catalog: Catalog, table: RoutingTable, model: str, sticky: str) -> Target | None:
    """Who answers a request: the same on every worker that has the same catalog and table.

    A candidate or challenger that the table names and that may not be served is passed over.

    Args:
        catalog: Releases that may be served.
        table: The routing table.
        model: Name of the model.
        sticky: The entity, or the decision's id.

    Returns:
        None if nothing of the model may answer this request.
    """
    releases = catalog.models.get(model)
    champion = champion_of(catalog, table, model)
    planned = table.models.get(model)
    if planned is None:
        return None if champion is None else Target(champion, Route(arm="champion", table=table.version), ())
    if releases is None:
        return None
    candidate = releases.get(planned.candidate) if planned.candidate is not None else None
    challenger = releases.get(planned.challenger) if planned.challenger is not None else None
    bucket = bucket_of(planned.rollout, sticky) if planned.rollout is not None else 0

    def along(arm: Arm) -> Route:
        return Route(
            arm=arm,
            rollout=planned.rollout,
            stage=planned.stage,
            share=planned.share,
            bucket=bucket,
            table=table.version,
        )

    by_candidate = candidate is not None and takes_candidate(bucket, planned.share)
    arms: list[tuple[ServedRelease | None, Arm]] = [(champion, "champion"), (candidate, "candidate")]
    (answers, arm), other = arms[by_candidate], arms[not by_candidate]
    if answers is None:
        return None
    paired = [other] if planned.shadow and candidate is not None else []
    shadows = [*paired, (challenger, "challenger")]
    return Target(
        answers,
        along(arm),
        tuple((release, along(role)) for release, role in shadows if release is not None and release is not answers),
    )
