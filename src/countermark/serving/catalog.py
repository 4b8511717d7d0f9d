"""Which releases may answer: folded from the signed log, opened, verified, and kept up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from countermark.errors import CountermarkError
from countermark.records.release import ReleaseRef
from countermark.registry.directory import ServingDirectory
from countermark.registry.state import RegistryState
from countermark.serving.release import ServedRelease
from countermark.serving.seen import SeenLog


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
        state: The fold of the log; None before it was read.
    """

    models: Mapping[str, Mapping[str, ServedRelease]]
    refused: tuple[Refusal, ...]
    position: int
    until: datetime | None
    known: frozenset[str] = frozenset()
    state: RegistryState | None = field(default=None, repr=False, compare=False)

    def standing(self, model: str) -> ServedRelease | None:
        """The release of a model that was authorised first: a later one takes over by a rollout only."""
        releases = self.models.get(model)
        return None if not releases else next(iter(releases.values()))

    def why_not(self, model: str) -> str | None:
        """Why a release of a model is refused, in a line; None where none is."""
        found = [refusal.reason for refusal in self.refused if refusal.release.partition("@")[0] == model]
        return found[0].splitlines()[0] if found else None


def load_catalog(
    directory: ServingDirectory,
    now: datetime,
    *,
    environment: str = "prod",
    earlier: Catalog | None = None,
    seen: SeenLog | None = None,
) -> Catalog:
    """Open every authorised release.

    A release that cannot be verified or opened is left out and named; the others are served.

    Args:
        directory: The serving directory.
        now: Instant that expiries are judged at.
        environment: Environment whose authorisations count.
        earlier: The catalog before; releases whose authorisation and bundle are the same are kept open.
        seen: How far the log was seen before; it is noted there how far it goes now.

    Raises:
        RegistryError: If the log itself is missing, damaged, of another trust root, or does not continue the one that
            was seen: then nothing is served.
    """
    state = directory.state(now)
    memory = seen or SeenLog(None, directory.trust_root)
    memory.require_continued(state, None if earlier is None else earlier.state)
    memory.note(state)
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
    refused.extend(Refusal(str(lost.ref), lost.reason) for lost in state.lost if lost.environment == environment)
    return Catalog(models, tuple(refused), state.position, min(lapses, default=None), frozenset(state.models), state)


def without_lapsed(catalog: Catalog, now: datetime) -> Catalog:
    """What of a catalog still stands where the log cannot be read again: a known end does not wait for it."""
    kept = {
        model: {version: release for version, release in versions.items() if now < release.authorisation.lapses}
        for model, versions in catalog.models.items()
    }
    ended = [r for model, versions in catalog.models.items() for v, r in versions.items() if v not in kept[model]]
    return replace(
        catalog,
        models={model: versions for model, versions in kept.items() if versions},
        refused=(*catalog.refused, *(_lapsed(release.ref) for release in ended)),
        until=min((r.authorisation.lapses for versions in kept.values() for r in versions.values()), default=None),
    )


def _lapsed(ref: ReleaseRef) -> Refusal:
    return Refusal(str(ref), "its approvals or waivers have lapsed")
