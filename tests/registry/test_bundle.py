"""A bundle is the same bytes for the same content, and names what is damaged in it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import RegistryError
from countermark.records.digest import canonical_json, sha256_hex
from countermark.records.release import BundleManifest, ReleaseRef
from countermark.registry.bundle import Bundle, build_bundle
from countermark.registry.directory import ServingDirectory, require_approved_content
from countermark.registry.events import log_lines
from tests.registry.people import DIGESTS, LATER, REF, Log

TOY = ReleaseRef.parse(REF)
DECISION = b'{"cutoff":0.3}'


def members(log: Log | None = None) -> dict[str, bytes]:
    return {
        "scorer.json": b'{"scorer":1}',
        "decision.json": DECISION,
        "spec.json": b"{}",
        "profile.json": b'{"format":"countermark/profile/1"}',
        "pack.json": b'{"pack":1}',
        "validation_pack.pdf": b"%PDF-1.7 final",
        "log.jsonl": log_lines((log or Log()).entries),
    }


def bundle(log: Log | None = None, ref: ReleaseRef = TOY, **changes: bytes) -> bytes:
    content = {**members(log), **{name.replace("__", "."): data for name, data in changes.items()}}
    return build_bundle(ref, content, results=DIGESTS["results"], evidence=DIGESTS["evidence"], environment="e" * 64)


def test_the_same_release_gives_the_same_bytes_whatever_the_order() -> None:
    content = members()
    turned = dict(reversed(content.items()))
    args = {"results": "r" * 64, "evidence": "e" * 64, "environment": "v" * 64}
    assert build_bundle(TOY, content, **args) == build_bundle(TOY, turned, **args)


def test_a_bundle_opens_and_gives_what_was_put_in(tmp_path: Path) -> None:
    data = bundle()
    (tmp_path / "x.bundle").write_bytes(data)
    for source in (data, tmp_path / "x.bundle"):
        opened = Bundle.open(source, sha256_hex(data))
        assert opened.ref == TOY
        assert {name: opened.member(name) for name in members()} == members()
        assert opened.log()[0].payload
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None, "any zip program opens it"


def test_a_bundle_is_not_made_without_a_reference_profile_and_an_old_one_opens() -> None:
    content = members()
    del content["profile.json"]
    with pytest.raises(RegistryError, match=r"cannot be made without 'profile\.json'"):
        build_bundle(TOY, content, results="r", evidence="e", environment="v")
    old = BundleManifest(
        model="toy", version="1.0.0", members={name: sha256_hex(data) for name, data in content.items()},
        results="r", evidence="e", environment="v",
    )  # fmt: skip
    order = [name for name in members() if name in content]
    opened = Bundle.open(_zip({"manifest.json": old.to_json(), **{name: content[name] for name in order}}))
    assert opened.manifest == old
    with pytest.raises(RegistryError, match=r"has no 'profile.json'"):
        opened.member("profile.json")


@pytest.mark.parametrize(
    "name",
    ["scorer.json", "decision.json", "spec.json", "pack.json", "validation_pack.pdf", "profile.json", "log.jsonl"],
)
def test_a_flipped_byte_in_a_member_is_refused_by_its_name(name: str) -> None:
    data, content = bytearray(bundle()), members()[name]
    data[bytes(data).index(content) + len(content) // 2] ^= 1
    for digest in (None, sha256_hex(bundle())):
        with pytest.raises(RegistryError, match=f"member '{name}' of the bundle is damaged"):
            Bundle.open(bytes(data), digest)


def test_a_member_exchanged_with_its_checksum_is_refused_by_its_name() -> None:
    """An attacker who writes a whole new zip around another scorer."""
    honest = Bundle.open(bundle())
    forged = {**honest.members, "scorer.json": b'{"scorer":2}'}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in forged.items():
            archive.writestr(name, content)
    with pytest.raises(RegistryError, match=r"member 'scorer\.json' of the bundle is damaged"):
        Bundle.open(out.getvalue())


def test_a_member_exchanged_with_its_manifest_is_not_the_published_bundle() -> None:
    honest = bundle()
    forged = bundle(scorer__json=b'{"scorer":2}')
    assert Bundle.open(forged).digest != sha256_hex(honest)
    with pytest.raises(RegistryError, match=f"the bundle of '{REF}' is not the one that was published"):
        Bundle.open(forged, sha256_hex(honest))


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_flipped_byte_is_refused(place: int, flip: int) -> None:
    data = bytearray(bundle(_LOG))
    data[place % len(data)] ^= flip
    with pytest.raises(RegistryError, match="bundle"):
        Bundle.open(bytes(data), sha256_hex(bundle(_LOG)))


@given(st.binary(max_size=300))
def test_noise_is_no_bundle(noise: bytes) -> None:
    with pytest.raises(RegistryError):
        Bundle.open(noise)


_LOG = Log()


def test_what_a_bundle_must_and_may_hold() -> None:
    short = members()
    del short["scorer.json"]
    with pytest.raises(RegistryError, match=r"cannot be made without 'scorer\.json'"):
        build_bundle(TOY, short, results="r", evidence="e", environment="v")
    with pytest.raises(RegistryError, match=r"cannot be made with 'extra\.txt'"):
        build_bundle(TOY, {**members(), "extra.txt": b""}, results="r", evidence="e", environment="v")


def _zip(content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_bundle_with_a_member_more_or_less_than_its_manifest_says() -> None:
    honest = dict(Bundle.open(bundle()).members)
    with pytest.raises(RegistryError, match="does not hold what a bundle holds"):
        Bundle.open(_zip({**honest, "extra.txt": b""}))
    del honest["profile.json"]
    with pytest.raises(RegistryError, match="lists other members"):
        Bundle.open(_zip(honest))


def test_a_compressed_bundle_is_refused() -> None:
    with pytest.raises(RegistryError, match="is damaged"):
        Bundle.open(_zip(dict(Bundle.open(bundle()).members), zipfile.ZIP_DEFLATED))


BAD_MANIFESTS = {
    "another format": (b'{"format":"countermark/bundle/2"}', "unknown format"),
    "no JSON": (b"{", "manifest is damaged"),
    "no object": (b"[]", "unknown format"),
    "a field too few": (b'{"format":"countermark/bundle/1","model":"toy"}', "manifest is damaged"),
}


@pytest.mark.parametrize("sentence", BAD_MANIFESTS, ids=list(BAD_MANIFESTS))
def test_a_bad_manifest_is_refused(sentence: str) -> None:
    data, says = BAD_MANIFESTS[sentence]
    with pytest.raises(RegistryError, match=says):
        Bundle.open(_zip({**Bundle.open(bundle()).members, "manifest.json": data}))
    with pytest.raises(RegistryError, match=says):
        BundleManifest.from_json(data)


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="cannot be read"):
        Bundle.open(tmp_path / "none.bundle")


# the serving directory


def directory(tmp_path: Path, data: bytes, **digests: str) -> tuple[ServingDirectory, Log]:
    log = Log()
    opened = Bundle.open(data)
    stated = {
        **DIGESTS,
        "scorer": opened.manifest.members["scorer.json"],
        "decision": sha256_hex(DECISION),
        "spec": opened.manifest.members["spec.json"],
        **digests,
    }
    candidate = log.propose(digests=stated, files=[
        {"path": f"out/{name}", "sha256": opened.manifest.members[name], "md5": "0" * 32, "size": 1}
        for name in ("profile.json", "pack.json")
    ])  # fmt: skip
    bound = {name: stated[name] for name in ("results", "evidence", "scorer", "decision")}
    log.approve(candidate, "validator", by="vera", digests=bound)
    log.approve(candidate, "risk", by="rik", digests=bound)
    log.publish(
        candidate, bundle=opened.digest, files={"validation_pack.pdf": opened.manifest.members["validation_pack.pdf"]}
    )
    log.assign(1)
    made = ServingDirectory(tmp_path / "releases", log.root)
    made.write_log(log.entries)
    assert made.write_bundle(data) == opened.digest
    return made, log


def test_a_server_finds_what_is_authorised_without_git(tmp_path: Path) -> None:
    made, _ = directory(tmp_path, bundle())
    state = made.state(LATER)
    (release,) = state.authorised("toy")
    assert made.bundle_of(state, release.ref).digest == release.bundle_digest
    stamp = made.stamp()
    made.write_log(made.entries())
    assert made.stamp() != stamp
    assert sorted(p.name for p in made.path.iterdir()) == ["bundles", "registry.jsonl"], "no partial file is left"


def test_a_bundle_of_another_release_under_a_published_digest(tmp_path: Path) -> None:
    made, _ = directory(tmp_path, bundle(ref=ReleaseRef("toy", "9.0.0")))
    with pytest.raises(RegistryError, match="holds another release than was approved"):
        made.bundle_of(made.state(LATER), TOY)


@pytest.mark.parametrize("name", ["results", "evidence", "scorer"])
def test_a_bundle_with_other_digests_than_were_approved(tmp_path: Path, name: str) -> None:
    made, _ = directory(tmp_path, bundle(), **{name: "0" * 64})
    with pytest.raises(RegistryError, match=f"holds another {name} than was approved"):
        made.bundle_of(made.state(LATER), TOY)


def test_a_decision_policy_that_was_not_approved(tmp_path: Path) -> None:
    made, _ = directory(tmp_path, bundle(), decision="0" * 64)
    with pytest.raises(RegistryError, match="holds another decision policy than was approved"):
        made.bundle_of(made.state(LATER), TOY)


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ("spec.json", "spec"), ("profile.json", "reference profile"), ("pack.json", "pack"),
        ("validation_pack.pdf", "Final document"), ("log.jsonl", "log"),
    ],
)  # fmt: skip
def test_one_engineer_publishes_a_member_that_nobody_approved(tmp_path: Path, member: str, name: str) -> None:
    """The quorum approved the honest candidate; the bundle that is published holds another member."""
    made, log = directory(tmp_path, bundle())
    other = {"log.jsonl": log_lines(Log(start=LATER).entries)}.get(member, b'{"forged":1}')
    content = {**members(), member: other}
    digests = {name: DIGESTS[name] for name in ("results", "evidence")}
    forged = Bundle.open(build_bundle(TOY, content, **digests, environment="e" * 64))
    with pytest.raises(RegistryError, match=f"the bundle of '{REF}' holds another {name} than was approved"):
        require_approved_content(log.fold(), TOY, forged)
    require_approved_content(log.fold(), TOY, made.bundle_of(log.fold(), TOY))


@pytest.mark.parametrize("missing", ["spec", "pack.json", "profile.json", "validation_pack.pdf"])
def test_a_member_that_no_signature_binds_is_not_served(tmp_path: Path, missing: str) -> None:
    made, log = directory(tmp_path, bundle())
    state = log.fold()
    release = state.release(TOY)
    assert release.publication is not None
    body, told = release.proposal, release.publication.body
    digests = {name: value for name, value in body.digests.items() if name != missing}
    files = tuple(file for file in body.files if file.name != missing)
    final = {name: value for name, value in told.files.items() if name != missing}
    bare = replace(
        release,
        proposal=msgspec.structs.replace(body, digests=digests, files=files),
        publication=replace(release.publication, body=msgspec.structs.replace(told, files=final)),
    )
    with pytest.raises(RegistryError, match=f"the log binds no .* of '{REF}', so that nobody signed for"):
        made.bundle_of(replace(state, releases={TOY: bare}), TOY)


def test_a_damaged_bundle_is_mended_by_writing_it_again(tmp_path: Path) -> None:
    made, _ = directory(tmp_path, bundle())
    file = next((made.path / "bundles").iterdir())
    file.write_bytes(b"broken")
    with pytest.raises(RegistryError):
        made.bundle(sha256_hex(bundle()))
    made.write_bundle(bundle())
    assert made.bundle(sha256_hex(bundle())).ref == TOY


def test_a_directory_of_another_trust_root_is_refused(tmp_path: Path) -> None:
    made, _ = directory(tmp_path, bundle())
    with pytest.raises(RegistryError, match="another trust root"):
        ServingDirectory(made.path, "0" * 64).state(LATER)


def test_a_directory_without_a_log_and_a_release_without_a_publication(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no exported log"):
        ServingDirectory(tmp_path, "0" * 64).state(LATER)
    log = Log()
    log.propose()
    made = ServingDirectory(tmp_path, log.root)
    made.write_log(log.entries)
    with pytest.raises(RegistryError, match="is not published"):
        made.bundle_of(made.state(LATER), TOY)
    with pytest.raises(RegistryError, match=r"knows no release 'toy@v2\.0\.0'") as caught:
        made.state(LATER).release(ReleaseRef("toy", "2.0.0"))
    assert "toy@v1.0.0" in str(caught.value.expected)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "releases").write_text("a file where a folder should be")
    with pytest.raises(RegistryError, match="cannot be written"):
        ServingDirectory(tmp_path / "releases", "0" * 64).write_bundle(b"x")


# names and history


@given(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.tuples(*[st.integers(0, 99)] * 3))
def test_a_release_is_written_and_read(model: str, numbers: tuple[int, int, int]) -> None:
    ref = ReleaseRef(model, ".".join(map(str, numbers)))
    assert ReleaseRef.parse(str(ref)) == ref
    assert ref.order == (model, numbers)


@pytest.mark.parametrize(
    "text",
    [
        "toy",
        "toy@1.0.0",
        "toy@v1.0",
        "toy@v01.0.0",
        "Toy@v1.0.0",
        "toy@v1.0.0!",
        "toy#prod#1",
        "a/b@v1.0.0",
        "toy@v1.0.0\n",
    ],
)
def test_what_names_no_release_is_refused(text: str) -> None:
    with pytest.raises(RegistryError, match="names no release"):
        ReleaseRef.parse(text)


def test_versions_are_ordered_as_numbers() -> None:
    refs = [ReleaseRef("a", v) for v in ("10.0.0", "9.1.0", "9.0.10")]
    assert [r.version for r in sorted(refs, key=lambda r: r.order)] == ["9.0.10", "9.1.0", "10.0.0"]


def test_the_past_is_the_fold_of_the_log_so_far() -> None:
    log = Log()
    candidate = log.live()
    log.add("retirement", {"release": REF, "sequence": 2, "reason": "old"}, by="eli", tags=["toy#prod!#2"])
    state = log.fold()
    assert [state.at(position=p).releases[TOY].status for p in range(candidate, candidate + 6)] == [
        "candidate", "candidate", "approved", "published", "prod", "archived",
    ]  # fmt: skip
    last = state.events[candidate + 4].at
    assert state.at(time=last).releases[TOY].status == "prod"
    assert state.at(time=last - timedelta(seconds=1)).releases[TOY].status == "published"
    for question in ({"position": 99}, {"position": -1}, {"time": state.events[0].at - timedelta(days=1)}, {}):
        with pytest.raises(RegistryError):
            state.at(**question)


def test_a_manifest_is_canonical_json() -> None:
    opened = Bundle.open(bundle())
    assert opened.member("manifest.json") == canonical_json(
        {
            "format": "countermark/bundle/1", "model": "toy", "version": "1.0.0",
            "members": {name: sha256_hex(data) for name, data in members().items()},
            "results": DIGESTS["results"], "evidence": DIGESTS["evidence"], "environment": "e" * 64,
        }
    )  # fmt: skip
