"""Signatures agree with OpenSSH, and anything else is refused by name."""

from __future__ import annotations

import base64
import functools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import RegistryError
from countermark.registry.signing import KeySigner
from countermark.registry.sshsig import decode, parse_public, verify
from tests.registry.people import key

MESSAGE = b"a release"


@functools.cache
def openssh() -> KeySigner:
    """The real program, with Dana's key."""
    return KeySigner(key("dana").path)


def _blob(armoured: bytes) -> bytes:
    return base64.b64decode(b"".join(armoured.split(b"\n")[1:-2]))


def _armoured(blob: bytes) -> bytes:
    return b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(blob) + b"\n-----END SSH SIGNATURE-----\n"


@given(st.binary(max_size=300), st.sampled_from(["countermark", "git", "ünïcode"]))
def test_what_ssh_keygen_signs_verifies_here(message: bytes, namespace: str) -> None:
    signer = openssh()
    assert verify(message, signer.sign(message, namespace), namespace) == signer.public


def test_what_is_armoured_here_verifies_with_ssh_keygen(tmp_path: Path) -> None:
    signer = openssh()
    made = key("dana").sign(MESSAGE, "countermark")
    assert made == signer.sign(MESSAGE, "countermark"), "Ed25519 is deterministic: the same bytes as OpenSSH's own"
    (tmp_path / "s").write_bytes(made)
    (tmp_path / "allowed").write_text(f"dana {signer.public}\n")
    done = subprocess.run(
        [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            tmp_path / "allowed",
            "-I",
            "dana",
            "-n",
            "countermark",
            "-s",
            tmp_path / "s",
        ],
        input=MESSAGE,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_flipped_byte_of_the_signature_is_refused(place: int, flip: int) -> None:
    blob = bytearray(_blob(openssh().sign(MESSAGE, "countermark")))
    blob[place % len(blob)] ^= flip
    with pytest.raises(RegistryError):
        verify(MESSAGE, _armoured(bytes(blob)), "countermark")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_flipped_byte_of_the_message_is_refused(place: int, flip: int) -> None:
    changed = bytearray(MESSAGE)
    changed[place % len(changed)] ^= flip
    with pytest.raises(RegistryError, match="not of these bytes"):
        verify(bytes(changed), openssh().sign(MESSAGE, "countermark"), "countermark")


@given(st.integers(min_value=0, max_value=200))
def test_a_cut_signature_is_refused(length: int) -> None:
    blob = _blob(openssh().sign(MESSAGE, "countermark"))
    with pytest.raises(RegistryError):
        verify(MESSAGE, _armoured(blob[: min(length, len(blob) - 1)]), "countermark")


@given(st.binary(max_size=200))
def test_noise_is_refused_with_an_error_of_the_house(noise: bytes) -> None:
    for armoured in (noise, _armoured(noise), _armoured(b"SSHSIG\0\0\0\1" + noise)):
        with pytest.raises(RegistryError):
            decode(armoured)


def test_a_signature_made_for_git_does_not_sign_the_log() -> None:
    with pytest.raises(RegistryError, match="another purpose") as caught:
        verify(MESSAGE, openssh().sign(MESSAGE, "git"), "countermark")
    assert caught.value.got == "namespace 'git'"


def _wire(*, version: int = 1, reserved: bytes = b"", hashed: bytes = b"sha512", kind: bytes = b"ssh-ed25519", cut: int = 64) -> bytes:  # fmt: skip
    """A signature in the wire format, good unless an argument makes it otherwise."""
    found = decode(openssh().sign(MESSAGE, "countermark"))

    def packed(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    public = base64.b64decode(found.public.split()[1])
    inner = packed(kind, found.value[:cut])
    return b"SSHSIG" + version.to_bytes(4, "big") + packed(public, b"countermark", reserved, hashed, inner)


BAD_SIGNATURES = {
    "another version": (_armoured(_wire(version=2)), "another format or version"),
    "another magic": (_armoured(_wire().replace(b"SSHSIG", b"SSHGIS")), "another format or version"),
    "a reserved field in use": (_armoured(_wire(reserved=b"x")), "a reserved field in use"),
    "an unknown hash": (_armoured(_wire(hashed=b"md5")), "an unknown hash"),
    "an inner signature of another type": (_armoured(_wire(kind=b"ssh-rsa")), "a signature that is not Ed25519"),
    "an inner signature that is too short": (_armoured(_wire(cut=63)), "a signature that is not Ed25519"),
    "a signature that ends early": (_armoured(_wire()[:-1]), "ends early"),
    "no armour": (base64.b64encode(_wire()), "no armour"),
    "armour without an end": (_armoured(_wire()).replace(b"END", b"FIN"), "no armour"),
    "armour that is not base64": (_armoured(_wire()).replace(b"U1NI", b"U*NI"), "not base64"),
    "nothing": (b" \n", "no signature at all"),
}


@pytest.mark.parametrize("sentence", BAD_SIGNATURES, ids=list(BAD_SIGNATURES))
def test_a_bad_signature_is_refused(sentence: str) -> None:
    armoured, says = BAD_SIGNATURES[sentence]
    with pytest.raises(RegistryError, match="this is no SSH signature") as caught:
        verify(MESSAGE, armoured, "countermark")
    assert says in str(caught.value.got)


def test_the_wire_format_of_these_tests_is_right() -> None:
    assert verify(MESSAGE, _armoured(_wire()), "countermark") == key("dana").public


def test_bytes_after_the_signature_are_refused() -> None:
    with pytest.raises(RegistryError) as caught:
        decode(_armoured(_blob(openssh().sign(MESSAGE, "countermark")) + b"\0"))
    assert "left over" in str(caught.value)


@pytest.mark.parametrize(("kind", "named"), [("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256")])
def test_other_key_types_are_refused_by_name(tmp_path: Path, kind: str, named: str) -> None:
    path = tmp_path / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    with pytest.raises(RegistryError, match=f"keys of type '{named}' are not accepted"):
        KeySigner(path)
    made = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-f", path, "-n", "countermark"],
        input=MESSAGE,
        capture_output=True,
        check=True,
    )
    with pytest.raises(RegistryError, match=f"keys of type '{named}' are not accepted"):
        verify(MESSAGE, made.stdout, "countermark")


BAD_KEYS = {
    "no key at all": ("hello", "no SSH public key"),
    "no base64": ("ssh-ed25519 ***", "no SSH public key"),
    "a key that states another type than it has": (
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "'ssh-rsa' are not accepted",
    ),
    "a key that is too short": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAgAA", "no SSH signature"),
}


@pytest.mark.parametrize("sentence", BAD_KEYS, ids=list(BAD_KEYS))
def test_a_bad_public_key_is_refused(sentence: str) -> None:
    text, says = BAD_KEYS[sentence]
    with pytest.raises(RegistryError, match=says):
        parse_public(text)


def test_a_comment_does_not_make_another_key() -> None:
    public = key("dana").public
    assert parse_public(f"{public}  dana@host comment")[0] == public


def test_a_key_that_is_not_there_cannot_sign(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such key"):
        KeySigner(tmp_path / "none")


def test_a_public_key_without_its_private_half_cannot_sign(tmp_path: Path) -> None:
    path = tmp_path / "lonely.pub"
    path.write_text(key("dana").public + "\n")
    with pytest.raises(RegistryError, match="could not sign"):
        KeySigner(path).sign(MESSAGE, "countermark")


def test_the_agent_signs_for_a_public_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if socket.exists():
                break
            subprocess.run(["sleep", "0.02"], check=True)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", key("dana").path], check=True)
        path = tmp_path / "dana.pub"
        path.write_text(key("dana").public + "\n")
        assert verify(MESSAGE, KeySigner(path).sign(MESSAGE, "git"), "git") == key("dana").public
    finally:
        agent.terminate()
        agent.wait()
