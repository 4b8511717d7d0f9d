"""A release opened from its bundle: scorer, decision policy, profile and spec, all held to the bundle's digests."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from pydantic import ValidationError

from countermark.config.policy import DecisionPolicy
from countermark.config.spec import ModelSpec
from countermark.errors import RegistryError
from countermark.records.profile import ReferenceProfile
from countermark.registry.bundle import Bundle
from countermark.scoring.decider import Decider
from countermark.scoring.frozen import FrozenScorer


@dataclass(frozen=True, slots=True)
class OpenRelease:
    """What a bundle holds, read.

    Attributes:
        bundle: The verified bundle.
        spec: The resolved model.
        profile: The reference profile.
        decider: Scorer under the decision policy.
        scorer_digest: SHA-256 of the scorer file.
        policy_digest: SHA-256 of the decision policy file.
    """

    bundle: Bundle
    spec: ModelSpec
    profile: ReferenceProfile
    decider: Decider
    scorer_digest: str
    policy_digest: str


def open_release(bundle: Bundle) -> OpenRelease:
    """Read the members of a bundle.

    Raises:
        RegistryError: If a member cannot be read by this version.
        ScorerError: If scorer, policy and profile do not fit one another.
    """
    digests = bundle.manifest.members
    profile = _profile(bundle)
    scorer = FrozenScorer.from_bytes(bundle.member("scorer.json"), digest=digests["scorer.json"])
    return OpenRelease(
        bundle=bundle,
        spec=_spec(bundle),
        profile=profile,
        decider=Decider(scorer, _policy(bundle), profile),
        scorer_digest=digests["scorer.json"],
        policy_digest=digests["decision.json"],
    )


def _spec(bundle: Bundle) -> ModelSpec:
    try:
        return ModelSpec.model_validate_json(bundle.member("spec.json"))
    except ValidationError as error:
        raise _unreadable(bundle, "spec.json", error) from None


def _policy(bundle: Bundle) -> DecisionPolicy | None:
    data = bundle.member("decision.json")
    if data.strip() == b"null":
        return None
    try:
        return DecisionPolicy.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(bundle, "decision.json", error) from None


def _profile(bundle: Bundle) -> ReferenceProfile:
    try:
        return msgspec.json.decode(bundle.member("profile.json"), type=ReferenceProfile)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _unreadable(bundle, "profile.json", error) from None


def _unreadable(bundle: Bundle, member: str, error: Exception) -> RegistryError:
    return RegistryError(
        f"'{member}' in the bundle of '{bundle.ref}' cannot be read by this version",
        got=str(error).splitlines()[0][:200],
        hint="use the version of Countermark that published it, or a newer one",
    )
