"""Bank-wide settings (conf/bank.yaml)."""

from __future__ import annotations

from typing import Literal

from countermark.config.base import Declared


class Bank(Declared):
    """The bank and how its documents are printed."""

    name: str
    paper: Literal["a4", "letter"] = "a4"
