"""The releases that may have decided: all that were ever published, each opened when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from countermark.monitoring.run import WatchedRelease
from countermark.registry.directory import ServingDirectory
from countermark.registry.state import RegistryState
from countermark.scoring.release import OpenRelease, open_release


class PublishedReleases(Mapping[str, WatchedRelease]):
    """Published releases of a model by version: those that may serve last, in the order of their authorisation.

    A release that lapsed or was retired made its decisions all the same, and its bundle is still in the directory.

    Args:
        directory: The serving directory.
        state: The fold of its log.
        model: Name of the model.
    """

    def __init__(self, directory: ServingDirectory, state: RegistryState, model: str) -> None:
        published = sorted(
            (ref for ref, release in state.releases.items() if ref.model == model and release.publication is not None),
            key=lambda ref: ref.order,
        )
        serving = [authorisation.ref for authorisation in state.authorised(model)]
        ordered = [ref for ref in published if ref not in serving] + serving
        self._directory = directory
        self._state = state
        self._refs = {ref.version: ref for ref in ordered}
        self._open: dict[str, WatchedRelease] = {}

    def __getitem__(self, version: str) -> WatchedRelease:
        """A release, opened.

        Raises:
            KeyError: If no such release was published.
            RegistryError: If its bundle is missing, damaged, or of another release.
            ScorerError: If scorer, policy and profile of its bundle do not fit one another.
        """
        ref = self._refs[version]
        if version not in self._open:
            self._open[version] = _watched(open_release(self._directory.bundle_of(self._state, ref)))
        return self._open[version]

    def __contains__(self, version: object) -> bool:
        return version in self._refs

    def __iter__(self) -> Iterator[str]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)


def published_releases(directory: ServingDirectory, state: RegistryState) -> dict[str, PublishedReleases]:
    """Published releases of every model of a log."""
    return {model: PublishedReleases(directory, state, model) for model in state.models}


def _watched(release: OpenRelease) -> WatchedRelease:
    policy, fairness = release.decider.policy, release.spec.fairness
    return WatchedRelease(
        release.profile,
        None if policy is None else policy.favourable,
        {} if fairness is None else {name: found.reference for name, found in fairness.attributes.items()},
    )
