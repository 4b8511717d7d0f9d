"""One bank of releases and one running service for the tests that do not break them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.records.clock import SystemClock
from countermark.serving.keys import ApiKey, make_key, write_keys
from tests.servers import PostgresServer, postgres_server
from tests.serving.releases import ReleaseBank, fraud_spec, publish_empty, standard_bank
from tests.serving.servers import Server, serving


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ReleaseBank:
    """Releases that no test changes."""
    return standard_bank(tmp_path_factory.mktemp("bank") / "releases")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A key file, and the keys by name."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    scopes = {
        "all": ("decide", "events", "outcomes", "read"),
        "pd": ("decide:toy_pd",),
        "events": ("events",),
        "outcomes": ("outcomes",),
        "read": ("read",),
    }
    texts: dict[str, str] = {}
    known: dict[str, ApiKey] = {}
    for name, allowed in scopes.items():
        texts[name], key = make_key(name, allowed)
        known[key.sha256] = key
    write_keys(path, known)
    return path, texts


@pytest.fixture(scope="session")
def ledger_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="session")
def server(
    bank: ReleaseBank,
    keys: tuple[Path, dict[str, str]],
    ledger_folder: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Two workers with keys and a feature store."""
    store = f"sqlite:///{tmp_path_factory.mktemp('store')}/features.sqlite"
    publish_empty(store, fraud_spec(), SystemClock().now())
    with serving(
        bank.folder, bank.trust_root, ledger=ledger_folder, workers=2, keys=keys[0], features=store
    ) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running
