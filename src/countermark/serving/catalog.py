"""Which releases may answer: folded from the signed log, opened, verified, and kept up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from countermark.errors import CountermarkError
from countermark.records.release import ReleaseRef
from countermark.registry.directory import ServingDirectory
from countermark.serving.release import ServedRelease


@dataclass(frozen=True, slots=True)
class Refusal:
    """A release that is not served, and why.

    Attributes:
        release: Its name.
        reason: The error that keeps it out.
    """

    release: str
    reason: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """The releases of one environment at one time.

    Attributes:
        models: Releases by model and version, in order of authorisation.
        refused: Releases that are authorised and yet not served.
        position: Last position of the log that was folded.
        until: When the first of them lapses; None if there is none.
        known: Every model that the log names, served or not.
    """

    models: Mapping[str, Mapping[str, ServedRelease]]
    refused: tuple[Refusal, ...]
    position: int
    until: datetime | None
    known: frozenset[str] = frozenset()

    def standing(self, model: str) -> ServedRelease | None:
        """The release of a model that was authorised first: a later one takes over by a rollout only."""
        releases = self.models.get(model)
        return None if not releases else next(iter(releases.values()))


def load_catalog(
    directory: ServingDirectory, now: datetime, *, environment: str = "prod", earlier: Catalog | None = None
) -> Catalog:
    """Open every authorised release.

    A release that cannot be verified is left out and named; the others are served.

    Args:
        directory: The serving directory.
        now: Instant that expiries are judged at.
        environment: Environment whose authorisations count.
        earlier: The catalog before; releases whose authorisation and bundle are the same are kept open.

    Raises:
        RegistryError: If the log itself is missing, damaged or of another trust root: then nothing is served.
    """
    state = directory.state(now)
    models: dict[str, dict[str, ServedRelease]] = {}
    refused: list[Refusal] = []
    lapses: list[datetime] = []
    for model in state.models:
        for authorisation in state.authorised(model, environment):
            ref = authorisation.ref
            known = None if earlier is None else earlier.models.get(model, {}).get(ref.version)
            try:
                if known is None or known.authorisation != authorisation:
                    known = ServedRelease(directory.bundle_of(state, ref), authorisation)
            except CountermarkError as error:
                refused.append(Refusal(str(ref), str(error)))
                continue
            versions = models.setdefault(model, {})
            versions[ref.version] = known
            lapses.append(authorisation.lapses)
        refused.extend(_lapsed(ref) for ref in state.lapsed(model, environment))
    return Catalog(models, tuple(refused), state.position, min(lapses, default=None), frozenset(state.models))


def _lapsed(ref: ReleaseRef) -> Refusal:
    return Refusal(str(ref), "its approvals or waivers have lapsed")
