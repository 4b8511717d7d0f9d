"""One release, opened and verified, ready to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from countermark.features.intake import EventIntake
from countermark.features.online import OnlineStore
from countermark.features.request import FieldProblem, RequestError
from countermark.features.vector import InputValue, VectorBuilder
from countermark.records.decision import DecisionRecord, Digests, ReleaseBinding, Route, Value, ViewReading
from countermark.records.release import ReleaseRef
from countermark.registry.bundle import Bundle
from countermark.registry.standing import Authorisation
from countermark.scoring.decider import Decided
from countermark.scoring.release import open_release
from countermark.serving.environment import environment_digest


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a release.

    Attributes:
        id: Id of the decision.
        at: Instant of the request, ISO text.
        now: The same instant.
        channel: How it was asked.
        entity: Whom it is about.
        request: Fields as they came.
        route: Why this release answers.
        caller: Name of the API key that asked; None where keys are not asked for.
    """

    id: str
    at: str
    now: datetime
    channel: Any
    entity: str | None
    request: Mapping[str, Value]
    route: Route
    caller: str | None = None


class ServedRelease:
    """A release that may answer.

    Attributes:
        ref: The release.
        spec: The resolved model.
        authorisation: What allows it.
        profile: Its reference profile.
        intake: Takes in events of the model's feature views.

    Args:
        bundle: The verified bundle.
        authorisation: The authorisation in force.

    Raises:
        RegistryError: If a member of the bundle cannot be read.
        ScorerError: If the scorer, policy and profile do not fit one another.
        ConfigError: If the spec's features cannot be built from a request.
    """

    def __init__(self, bundle: Bundle, authorisation: Authorisation) -> None:
        opened = open_release(bundle)
        self.ref: ReleaseRef = bundle.ref
        self.authorisation = authorisation
        self.spec, self.profile, self.decider = opened.spec, opened.profile, opened.decider
        self.builder = VectorBuilder(self.spec)
        self.intake = EventIntake(self.spec)
        self.entity_field = self.spec.data.entity if self.spec.data.entity in self.builder.fields else None
        self.binding = ReleaseBinding(
            model=self.ref.model,
            version=self.ref.version,
            position=authorisation.position,
            tag_object=authorisation.tag_object,
            bundle=bundle.digest,
        )
        self.digests = Digests(
            scorer=opened.scorer_digest, decision_policy=opened.policy_digest, environment=environment_digest()
        )
        # The first score of a process loads the compiled kernels: no caller waits for that.
        self.decider.decide(
            {item.name: item.levels[0] if item.levels else 0.0 for item in opened.decider.scorer.inputs}
        )

    def entity(self, request: Mapping[str, Any], stated: str | None) -> str | None:
        """Whom a request is about: the model's entity field, or else what the caller states.

        Raises:
            RequestError: If the caller states another entity than the request's own field, or the field names nobody.
        """
        if self.entity_field is None:
            return stated
        value = request.get(self.entity_field)
        if value is None:
            return stated
        about = str(value)
        if not about.strip() or (stated is not None and stated != about):
            expected = "the same entity as beside the request" if about.strip() else "whom the request is about"
            problem = FieldProblem(self.entity_field, "entity", expected)
            raise RequestError(f"a request to '{self.ref.model}'", (problem,))
        return about

    def decide(self, ask: Ask, store: OnlineStore | None) -> DecisionRecord:
        """Decide on a request.

        Raises:
            RequestError: If a field of the request breaks its contract.
            FeatureStoreError: If features cannot be read.
            ScorerError: If the vector holds what the scorer refuses.
        """
        vector, views = self.builder.build(ask.request, store, ask.now)
        return self.record(ask, vector, views, self.decider.decide(vector))

    def record(
        self, ask: Ask, vector: Mapping[str, InputValue], views: tuple[ViewReading, ...], decided: Decided
    ) -> DecisionRecord:
        """The record of a decision."""
        return DecisionRecord(
            id=ask.id,
            at=ask.at,
            channel=ask.channel,
            caller=ask.caller,
            model=self.ref.model,
            entity=ask.entity,
            request=dict(ask.request),
            features=dict(vector),
            views=views,
            release=self.binding,
            digests=self.digests,
            margin=decided.margin.hex(),
            p=decided.p.hex(),
            grade=decided.grade,
            decision=decided.decision,
            reasons=decided.reasons,
            route=ask.route,
        )
