"""What every worker is started with, handed down by its parent."""

from __future__ import annotations

import os

import msgspec

SETTINGS_VARIABLE = "COUNTERMARK_SERVE"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every worker is started with.

    Attributes:
        directory: The serving directory.
        trust_root: SHA-256 of the genesis payload of the signed log.
        ledger: URL of the ledger.
        store: URL of the online feature store, or None.
        keys: The key file; None to serve without keys (loopback only).
        environment: Environment whose authorisations count.
        rollouts: Whether the workers lead rollouts.
        groups: Protected groups by entity (CSV), for the guard of group approval; None where they are not at hand.
        parent: Process that started the workers; a worker ends with it.
    """

    directory: str
    trust_root: str
    ledger: str
    store: str | None
    keys: str | None
    environment: str = "prod"
    rollouts: bool = True
    groups: str | None = None
    parent: int = 0


def read_settings() -> Settings:
    """Settings of this worker, from the environment that its parent gave it."""
    return msgspec.json.decode(os.environ[SETTINGS_VARIABLE], type=Settings)
