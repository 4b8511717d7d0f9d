"""Decisions of a test bank's releases, written to a ledger as the service writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord, Digests, ReleaseBinding, Route, encode
from countermark.registry.directory import ServingDirectory
from countermark.registry.state import RegistryState
from countermark.scoring.release import OpenRelease, open_release
from tests.serving.releases import requests

FIRST = datetime(2026, 2, 2, 9, 0, tzinfo=UTC)


class Desk:
    """Decides with the authorised releases of a serving directory.

    Args:
        directory: The serving directory.
        state: Its fold.
        model: The model.
    """

    def __init__(self, directory: ServingDirectory, state: RegistryState, model: str) -> None:
        self.model = model
        self.authorised = state.authorised(model)
        self.opened: list[OpenRelease] = [open_release(directory.bundle(a.bundle_digest)) for a in self.authorised]

    def decide(self, number: int, request: Mapping[str, Any], *, release: int, at: datetime) -> DecisionRecord:
        """One decision by the release of that place."""
        given, opened = self.authorised[release], self.opened[release]
        vector = {k: float(v) if isinstance(v, int) else v for k, v in request.items()}
        made = opened.decider.decide(vector)
        return DecisionRecord(
            id=f"d-{number:05d}",
            at=iso(at),
            channel="http",
            model=self.model,
            entity=f"customer-{number}",
            request=dict(request),
            features=vector,
            views=(),
            release=ReleaseBinding(
                model=self.model,
                version=given.ref.version,
                position=given.position,
                tag_object=given.tag_object,
                bundle=given.bundle_digest,
            ),
            digests=Digests(scorer=opened.scorer_digest, decision_policy=opened.policy_digest, environment="e" * 64),
            margin=made.margin.hex(),
            p=made.p.hex(),
            grade=made.grade,
            decision=made.decision,
            reasons=made.reasons,
            route=Route(arm="champion"),
        )

    def fill(self, ledger: Ledger, count: int, *, first: datetime = FIRST, start: int = 0) -> list[DecisionRecord]:
        """Decisions in turn by every release, a minute apart, on the ledger."""
        rows = requests(self.opened[0].spec, count, seed=3 + start)
        made = [
            self.decide(start + k, row, release=k % len(self.opened), at=first + timedelta(minutes=k))
            for k, row in enumerate(rows)
        ]
        ledger.append_many([("decision", record.id, encode(record), record.at) for record in made])
        return made
