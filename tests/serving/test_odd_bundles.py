"""Whatever a bundle or another file of the service holds: it opens, or an error of the house says why not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.config.spec import ModelSpec
from countermark.errors import CountermarkError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import iso
from countermark.records.digest import canonical_json, sha256_hex
from countermark.records.profile import ReferenceProfile
from countermark.records.release import BundleManifest, ReleaseRef
from countermark.registry.bundle import Bundle
from countermark.registry.standing import Authorisation
from countermark.replay.writing import read_file
from countermark.report.reading import read_record
from countermark.review.signing import read_review
from countermark.rollout.events import WRITER
from countermark.scoring.format import _lines as scorer_lines
from countermark.serving.keys import read_keys
from countermark.serving.release import ServedRelease
from countermark.serving.router import read_table
from tests.serving.releases import START, fraud_spec, pd_spec, policy, profile, scorer

MEMBERS = ("scorer.json", "decision.json", "spec.json", "profile.json")
ODD = (
    None, True, False, 0, -1, 1, 2**63, 1e308, -0.5, "", "x", "0x1p3", "nan", "Nowhere/Zone", "../../etc", "\x00",
    "request.amount / 0", "((((", "R00", [], [None], [0.5, "x"], {}, {"x": 1}, "a" * 300,
)  # fmt: skip


def members_of(model: ModelSpec) -> dict[str, Any]:
    """Documents of a release of a model that opens."""
    made, decision = scorer(model), policy(tuple(model.features))
    return {
        "scorer.json": json.loads(made.to_bytes()),
        "decision.json": decision.model_dump(mode="json"),
        "spec.json": model.model_dump(mode="json"),
        "profile.json": json.loads(profile(model, made, decision)),
    }


DOCUMENTS = {make.__name__: members_of(make()) for make in (pd_spec, fraud_spec)}


def written(documents: dict[str, Any]) -> dict[str, bytes]:
    """The documents as a bundle holds them."""
    content = {name: canonical_json(document) for name, document in documents.items()}
    return content | {"scorer.json": ("".join(scorer_lines(documents["scorer.json"], "")) + "\n").encode()}


def opened(content: dict[str, bytes]) -> ServedRelease:
    """Open a release of these members: its digests are right, whatever they say."""
    digests = {name: sha256_hex(data) for name, data in content.items()}
    manifest = BundleManifest(model="toy", version="1.0.0", members=digests, results="", evidence="", environment="")
    ref = ReleaseRef.parse("toy@v1.0.0")
    return ServedRelease(
        Bundle(manifest, "0" * 64, content),
        Authorisation(ref, "0" * 64, 1, "", 1, "prod", START, START),
    )


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a document: what holds it, and under which key."""
    for key in list(document) if isinstance(document, dict) else range(len(document)):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places(document[key])


def changed(document: Any, draw: random.Random) -> None:
    """Change one place: another value, nothing at all, or one thing more."""
    holder, key = draw.choice(list(places(document)))
    act = draw.randrange(4)
    if act == 0:
        del holder[key]
    elif act == 1 and isinstance(holder, dict):
        holder["x" * draw.randrange(3)] = draw.choice(ODD)
    elif act == 1:
        holder.append(draw.choice(ODD))
    else:
        holder[key] = draw.choice(ODD)


@pytest.mark.parametrize("make", sorted(DOCUMENTS))
def test_the_documents_as_they_are_open(make: str) -> None:
    assert opened(written(DOCUMENTS[make])).spec.features


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(DOCUMENTS)), st.sampled_from(MEMBERS), st.integers(1, 3), st.integers(0, 2**32))
def test_a_bundle_of_odd_documents_opens_or_says_why_not(make: str, member: str, changes: int, seed: int) -> None:
    documents = json.loads(json.dumps(DOCUMENTS[make]))
    draw = random.Random(seed)
    for _ in range(changes):
        changed(documents[member], draw)
    with suppress(CountermarkError):
        opened(written(documents))


@pytest.mark.parametrize(
    "noise",
    [b"", b"\xff", b'"\xff"', b"[" * 5000, b'{"a":' * 5000, b"null", b"[]", b"0", b"\x00", b'{"model": "\xff"}'],
)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_bundle_of_noise_says_why_it_does_not_open(member: str, noise: bytes) -> None:
    content = written(DOCUMENTS["pd_spec"]) | {member: noise}
    if (member, noise) == ("decision.json", b"null"):
        assert opened(content).decider.policy is None, "the one member that may say nothing"
        return
    with pytest.raises(CountermarkError):
        opened(content)


def _of_keys(data: bytes, folder: Path) -> object:
    (folder / "keys.json").write_bytes(data)
    return read_keys(folder / "keys.json")


def _of_table(data: bytes, folder: Path) -> object:
    with open_ledger(folder, writer=WRITER) as ledger:
        ledger.append("routing", "routing", data, iso(START))
        return read_table(ledger)


def _of_review(data: bytes, folder: Path) -> object:
    (folder / "review.json").write_bytes(data)
    return read_review(folder)


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "a key file": _of_keys,
    "a routing table": _of_table,
    "a review": _of_review,
    "a decision file": lambda data, folder: read_file(data),
    "a record to print": lambda data, folder: read_record(data, ReferenceProfile, "profile"),
}


@pytest.mark.parametrize("data", [b'{"format": "\xff"}', b"{", b"[" * 5000, b"0"])
@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_file_of_other_bytes_is_refused_by_its_reader(tmp_path: Path, reader: str, data: bytes) -> None:
    with pytest.raises(CountermarkError):
        READERS[reader](data, tmp_path)
