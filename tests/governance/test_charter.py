"""The governance file, amendments and revocations."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from countermark.errors import RegistryError
from countermark.governance.amendment import amend, approve_amendment, revoke
from countermark.governance.charter import example, read_charter
from countermark.governance.overview import governance_document
from tests.governance.desk import Desk
from tests.registry.people import PEOPLE, key


def document(**changes: Any) -> dict[str, Any]:
    base = {
        "principals": {
            name: {"person": person, "roles": list(roles), "keys": [key(name).public]}
            for name, (person, roles) in PEOPLE.items()
        },
        "quorum": {1: ["validator", "risk"], 2: ["validator"], 3: ["validator"]},
        "amendment_quorum": 2,
        "conflicts": [["Vera Validator", "other_model"]],
    }
    for principal in base["principals"].values():  # type: ignore[attr-defined]
        principal["keys"] = [{"public": text} for text in principal["keys"]]
    return {**base, **changes}


def write(folder: Path, content: Any) -> Path:
    path = folder / "governance.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_a_governance_file_is_read(tmp_path: Path) -> None:
    body = read_charter(write(tmp_path, document()), 1)
    assert body.version == 1
    assert body.quorum == {"1": ("validator", "risk"), "2": ("validator",), "3": ("validator",)}
    assert body.conflicts == (("Vera Validator", "other_model"),)
    assert {p.principal: p.keys[0].public for p in body.principals} == {n: key(n).public for n in PEOPLE}


def test_the_example_is_a_governance_file(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in ("dana", "vera", "rik", "eli"):
        (tmp_path / "keys" / f"{name}.pub").write_text(f"{key(name).public} {name}@bank\n")
    body = read_charter(write(tmp_path, example(date(2026, 11, 22))), 3)
    assert [p.keys[0].expires for p in body.principals] == ["2027-12-31"] * 4


def person(**fields: Any) -> dict[str, Any]:
    return document(principals={**document()["principals"], "new": fields})


ALL = {"person": "New", "roles": ["risk"], "keys": [{"public": "x"}]}
BAD_FILES: dict[str, tuple[Any, str]] = {
    "no YAML": ("{", "is not YAML"),
    "no mapping": ("- a", "this is no governance file"),
    "an unknown key": (document(quorums={}), "this is no governance file"),
    "principals as a list": (document(principals=[]), "this is no governance file"),
    "a principal that is a word": (person() | {"principals": {"x": "y"}}, "principal 'x' is not complete"),
    "a principal without keys": (person(person="New", roles=["risk"]), "principal 'new' has no list of keys"),
    "a principal with an empty list of keys": (person(person="New", roles=["risk"], keys=[]), "is not complete"),
    "a key that is a number": (person(**{**ALL, "keys": [7]}), "this is no key"),
    "a key with file and text": (person(**{**ALL, "keys": [{"file": "a", "public": "b"}]}), "this is no key"),
    "a key file that is not there": (person(**{**ALL, "keys": ["none.pub"]}), "the key file cannot be read"),
    "a key that is none": (person(**ALL), "no SSH public key"),
    "a key that two have": (person(**{**ALL, "keys": [{"public": key("rik").public}]}), "a key stands twice"),
    "an unknown role": (person(**{**ALL, "roles": ["king"], "keys": [{"public": key("n").public}]}), "not of its type"),
    "an expiry that is no date": (person(**{**ALL, "keys": [{"public": key("n").public, "expires": "soon"}]}), "no expiry"),
    "approvals for no day": (document(longest_approval_days=0), "is no number of days"),
    "approvals for a century": (document(longest_approval_days=36500), "is no number of days"),
    "an amendment quorum of one": (document(amendment_quorum=1), "cannot be met by four eyes"),
    "an amendment quorum of more than there are": (document(amendment_quorum=4), "cannot be met by four eyes"),
    "a tier without a quorum": (document(quorum={1: ["risk"], 2: ["validator"]}), "a tier has no quorum"),
    "an empty quorum": (document(quorum={1: [], 2: ["validator"], 3: ["validator"]}), "tier '1' is no quorum"),
    "a quorum of developers": (document(quorum={1: ["developer"], 2: ["risk"], 3: ["risk"]}), "tier '1' is no quorum"),
    "a quorum with one role twice": (document(quorum={1: ["risk", "risk"], 2: ["risk"], 3: ["risk"]}), "is no quorum"),
    "a name that no tag can hold": (
        document(principals={**document()["principals"], "a b": {**ALL, "keys": [{"public": key("n").public}]}}), "part of a tag's"),
    "a name with a line break": (
        document(principals={**document()["principals"], "a\nb": {**ALL, "keys": [{"public": key("n").public}]}}), "part of a tag's"),
    "a quorum that nobody can fill": (
        document(principals={n: p for n, p in document()["principals"].items() if n != "rik"}), "nobody holds role 'risk'"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD_FILES, ids=list(BAD_FILES))
def test_a_bad_governance_file_is_refused(tmp_path: Path, sentence: str) -> None:
    content, says = BAD_FILES[sentence]
    with pytest.raises(RegistryError, match=says):
        read_charter(write(tmp_path, content), 1)


def test_a_governance_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="cannot be read"):
        read_charter(tmp_path / "none.yaml", 1)


def test_an_amendment_waits_for_its_quorum(desk: Desk, tmp_path: Path) -> None:
    people = {**document()["principals"], "nova": {"person": "Nova", "roles": ["validator"], "keys": [{"public": key("nova").public}]}}  # fmt: skip
    file = write(tmp_path, document(principals=people))
    with pytest.raises(RegistryError, match="this needs auditor or risk or validator"):
        amend(desk.bank, key("dana"), file)
    done = amend(desk.bank, key("aud"), file)
    assert [t.kind for t in desk.bank.state().tasks("rik")] == ["amend"]
    assert desk.bank.state().tasks("aud") == desk.bank.state().tasks("dana") == ()
    with pytest.raises(RegistryError, match="no amendment waits at log position 9"):
        approve_amendment(desk.bank, key("rik"), 9)
    approve_amendment(desk.bank, key("rik"), done.position)
    state = desk.bank.state()
    assert state.governance.body.version == 2
    assert "nova" in [p.principal for p in state.governance.body.principals]
    assert state.amendments == ()


def test_a_key_is_revoked_by_principal_or_file(desk: Desk, tmp_path: Path) -> None:
    (done,) = revoke(desk.bank, key("rik"), "vera", None, "lost laptop")
    assert done.state.revoked == {key("vera").public: 1}
    with pytest.raises(RegistryError, match="knows no principal 'nobody'"):
        revoke(desk.bank, key("rik"), "nobody", None, "x")
    with pytest.raises(RegistryError, match="key file cannot be read"):
        revoke(desk.bank, key("rik"), "none.pub", None, "x")
    path = tmp_path / "eli.pub"
    path.write_text(key("eli").public)
    revoke(desk.bank, key("aud"), str(path), 1, "stolen")
    shown = governance_document(desk.bank.state())
    assert {p["principal"]: p["keys"][0]["revoked_from"] for p in shown["principals"] if p["keys"][0]["revoked_from"]} == {"vera": 1, "eli": 1}  # fmt: skip
