"""What a person gives with a signature: a reason, and files that prove it."""

from __future__ import annotations

from pathlib import Path

from countermark.errors import RegistryError
from countermark.records.digest import sha256_hex


def require_reason(reason: str) -> None:
    """Refuse a step that nobody says the reason of: it stands on the log for ever.

    Raises:
        RegistryError: If there is none.
    """
    if not reason.strip():
        raise RegistryError("no reason is given", expected="--reason TEXT")


def evidence_digest(root: Path, path: Path) -> str:
    """SHA-256 of a file of the bank.

    Args:
        root: The bank's folder.
        path: The file.

    Raises:
        RegistryError: If it lies outside of the bank, where nobody could find it again, or cannot be read.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise RegistryError(
            "evidence is a file of the bank",
            expected=f"a file below {root}",
            hint="copy it into the bank and commit it",
            file=path,
        )
    try:
        return sha256_hex(path.read_bytes())
    except OSError as error:
        raise RegistryError("the evidence cannot be read", got=error.strerror, file=path) from None
