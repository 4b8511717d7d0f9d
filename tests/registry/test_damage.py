"""Whatever happens to the bytes of a log or a bundle, the answer is an error of the house that names it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import RegistryError
from countermark.records.digest import canonical_json
from countermark.records.release import BundleManifest, ReleaseRef
from countermark.registry.bodies import BODIES
from countermark.registry.events import Entry, log_lines, parse_lines
from countermark.registry.fold import fold
from countermark.registry.sshsig import LOG_NAMESPACE
from countermark.registry.trust import lapse
from tests.registry.people import LATER, REF, Log, key

GOOD = Log()
GOOD.live()
LAST = len(GOOD.entries) - 1
DEEP = b"[" * 200_000


def folded(*entries: Entry) -> None:
    fold((*GOOD.entries[: len(GOOD.entries) - len(entries)], *entries), GOOD.root, LATER)


def test_a_flipped_bit_of_an_instant_is_refused_by_position() -> None:
    """A month 21, an hour 29: text that looks like an instant and is none."""
    entry = GOOD.entries[LAST]
    start = entry.payload.index(b'"at":"') + 6
    for place in range(start, start + 27):
        for bit in range(8):
            payload = bytearray(entry.payload)
            payload[place] ^= 1 << bit
            with pytest.raises(RegistryError, match=f"log position {LAST}: "):
                folded(Entry(bytes(payload), entry.signature))


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7), st.booleans())
def test_any_flipped_bit_of_a_good_line_is_refused(place: int, bit: int, inside: bool) -> None:
    if inside:
        payload = bytearray(GOOD.entries[LAST].payload)
        payload[place % len(payload)] ^= 1 << bit
        data = log_lines((*GOOD.entries[:LAST], Entry(bytes(payload), GOOD.entries[LAST].signature)))
    else:
        whole = bytearray(log_lines(GOOD.entries))
        whole[place % len(whole)] ^= 1 << bit
        data = bytes(whole)
    with pytest.raises(RegistryError):
        fold(parse_lines(data), GOOD.root, LATER)


def test_no_flipped_bit_of_the_last_signature_is_another_signature() -> None:
    """Spare bits of base64 and blanks of another kind would give one entry two digests."""
    line = bytearray(GOOD.entries[LAST].to_line())
    for place in range(line.index(b'"signature":"') + 13, len(line)):
        for bit in range(8):
            line[place] ^= 1 << bit
            with pytest.raises(RegistryError, match=f"log position ({LAST}|{LAST + 1}): "):
                fold(parse_lines(log_lines(GOOD.entries[:LAST]) + bytes(line)), GOOD.root, LATER)
            line[place] ^= 1 << bit


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(payload: bytes, signature: bytes) -> None:
    with pytest.raises(RegistryError):
        folded(Entry(payload, signature))
    for data in (payload, payload + b"\n" + signature + b"\n", log_lines(GOOD.entries) + payload + b"\n"):
        with pytest.raises(RegistryError):
            fold(parse_lines(data), GOOD.root, LATER)


def payload(**changes: Any) -> bytes:
    return canonical_json({**json.loads(GOOD.entries[LAST].payload), **changes})


BAD_PAYLOADS: dict[str, bytes] = {
    "a nesting without end": DEEP,
    "a nesting without end in a body": payload().replace(b'"body":{', b'"body":{"a":' + DEEP + b",", 1),
    "a number that is none": payload().replace(b'"sequence":1', b'"sequence":NaN'),
    "half a pair of surrogates": payload().replace(b'"sequence":1', b'"sequence":"\\ud800"'),
    "a number of ten thousand digits": payload().replace(b'"sequence":1', b'"sequence":1' + b"0" * 10_000),
    "a thirteenth month": payload(at="2026-13-02T09:00:00.000000Z"),
    "a year zero": payload(at="0000-01-02T09:00:00.000000Z"),
    "digits of another script": payload(at="\u0662026-01-02T09:00:00.000000Z"),
    "another text encoding": payload().decode().encode("utf-16"),
}


@pytest.mark.parametrize("sentence", BAD_PAYLOADS, ids=list(BAD_PAYLOADS))
def test_a_payload_that_breaks_its_reader_is_refused_by_position(sentence: str) -> None:
    data = BAD_PAYLOADS[sentence]
    for signature in (b"x", key("eli").sign(data, LOG_NAMESPACE)):
        with pytest.raises(RegistryError, match=f"log position {LAST}: the (payload|signature)"):
            folded(Entry(data, signature))
    with pytest.raises(RegistryError, match="log position 0: this line of the log is damaged"):
        parse_lines(b'{"payload":' + DEEP + b"\n")


TEXTS = st.sampled_from(
    ["9999-12-31", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", REF, "", "\u0661", "v"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
HONEST = {
    event.type: dict(event.body) for event in GOOD.fold().events
} | {
    "waiver": {"release": REF, "candidate": 1, "test": None, "finding": None, "reason": "r", "owner": "o", "expires": "9999-12-31"},
    "key_revocation": {"public": key("eli").public, "position": 1, "reason": "r"},
    "finding_opened": {"model": "toy", "release": REF, "severity": "low", "text": "t", "due": "9999-12-31"},
}  # fmt: skip


@given(st.sampled_from(sorted(BODIES)), st.data())
def test_a_signed_body_of_any_values_is_refused_and_never_breaks_the_fold(kind: str, data: st.DataObject) -> None:
    body: dict[str, Any] = dict(HONEST.get(kind, {}))
    for name in data.draw(st.lists(st.sampled_from(sorted(body) or ["note"]), max_size=2)):
        body[name] = data.draw(VALUES)
    log = Log.__new__(Log)
    log.entries, log.now, log.root = list(GOOD.entries), GOOD.now, GOOD.root
    by = data.draw(st.sampled_from(["rik", "eli", "dana", "vera"]))
    log.add(kind, body, by=by, tags=data.draw(st.lists(st.sampled_from([REF, "toy#prod#2"]), max_size=1)))
    state = log.fold()
    for who in ("rik", "vera"):
        state.tasks(who)
    assert state.position == len(GOOD.entries)


@given(VALUES | st.binary(max_size=200))
def test_any_manifest_is_refused_or_read(document: Any) -> None:
    for data in (document if isinstance(document, bytes) else canonical_json(document), DEEP):
        with pytest.raises(RegistryError):
            BundleManifest.from_json(data)


@given(VALUES, VALUES, VALUES)
def test_a_manifest_with_any_fields_names_a_release_or_is_refused(model: Any, version: Any, members: Any) -> None:
    document = {"format": "countermark/bundle/1", "model": model, "version": version, "members": members,
                "results": "r", "evidence": "e", "environment": "v"}  # fmt: skip
    with suppress(RegistryError):
        assert BundleManifest.from_json(canonical_json(document)).ref.order


@pytest.mark.parametrize("version", ["1." + "9" * 5000 + ".0", "1.\u0661.0", "1.1000000000.0"])
def test_a_version_that_is_no_number_anybody_counts_to(version: str) -> None:
    with pytest.raises(RegistryError, match="names no release"):
        ReleaseRef.parse(f"toy@v{version}")
    log = Log()
    log.propose(f"toy@v{version}")
    assert "names no release" in log.fold().refused[0].reason


@pytest.mark.parametrize("text", ["9999-12-31", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2026-02-30"])
def test_an_expiry_beyond_the_calendar_is_none(text: str) -> None:
    with pytest.raises(RegistryError, match="this is no expiry"):
        lapse(text)


def test_a_line_that_is_not_base64_or_no_object_is_damaged() -> None:
    for line in (b"[]", b"null", b'{"payload":1,"signature":2}', b'{"payload":"\xff"}', b"\xff\xfe", b""):
        with pytest.raises(RegistryError, match="log position 0: this line of the log is damaged"):
            parse_lines(line + b"\n")
    assert parse_lines(log_lines(GOOD.entries)) == tuple(GOOD.entries)
