"""Every reader of bytes answers noise with an error of the house, or with nothing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.errors import RegistryError
from countermark.governance.charter import read_charter
from countermark.records.digest import canonical_json
from countermark.records.release import BundleManifest, ReleaseRef
from countermark.registry.bodies import BODIES, read_body
from countermark.registry.events import Entry, parse_lines, read_event
from countermark.registry.sshsig import LOG_NAMESPACE
from countermark.registry.tags import read_tag
from countermark.report.attachments import embedded_files, paper_of
from tests.registry.people import key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_noise_is_no_log(noise: bytes) -> None:
    for data in (noise + b"\n", b'{"payload":"' + noise + b'","signature":""}\n'):
        with suppress(RegistryError):
            for position, entry in enumerate(parse_lines(data)):
                read_event(entry, position, "0" * 64)


@given(JSON)
def test_signed_noise_is_no_event(document: object) -> None:
    """The signature is good; what it signs is not an event."""
    payload = canonical_json(document)
    with pytest.raises(RegistryError, match="log position 0"):
        read_event(Entry(payload, key("dana").sign(payload, LOG_NAMESPACE)), 0, "0" * 64)


@given(st.sampled_from(sorted(BODIES)), JSON)
def test_noise_is_no_body(kind: str, document: object) -> None:
    with suppress(RegistryError):
        made = read_body(document, BODIES[kind])
        assert read_body(made.document(), BODIES[kind]) == made


@given(st.binary(max_size=200))
def test_noise_is_no_tag_and_no_manifest(noise: bytes) -> None:
    for data in (noise, noise + b"-----BEGIN SSH SIGNATURE-----" + noise):
        with pytest.raises(RegistryError):
            read_tag(data)
    with pytest.raises(RegistryError):
        BundleManifest.from_json(noise)


@given(st.text(max_size=40))
def test_noise_names_no_release(text: str) -> None:
    with suppress(RegistryError):
        assert str(ReleaseRef.parse(text)) == text


@given(st.binary(max_size=200))
def test_noise_is_no_document(noise: bytes) -> None:
    framed = (
        b"<</Type /EmbeddedFile/Filter /FlateDecode/Length 9>>\nstream\n" + noise + b"<</Type /ObjStm>>stream\n" + noise
    )
    assert paper_of(framed) == "a4"
    assert all(isinstance(found, bytes) for found in embedded_files(framed))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.one_of(st.text(max_size=60), JSON.map(lambda document: canonical_json(document).decode())))
def test_noise_is_no_governance_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "governance.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RegistryError):
        read_charter(file, 1)


_SCRIPT = """
import sys
before = set(sys.modules)
import countermark.registry.directory
new = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("countermark.")}
print(sorted(new), sorted(rooms))
"""


def test_a_server_that_reads_releases_imports_little() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    third, rooms = done.stdout.split("] [")
    known = {"countermark", "cryptography", "msgspec", "typing_extensions", "_cffi_backend", "_openssl"}
    assert {name.strip(" '[") for name in third.split(",")} <= known, third
    assert {name.strip(" ']\n") for name in rooms.split(",")} == {"errors", "records", "registry"}
