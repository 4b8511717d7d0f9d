"""The answer to a request that is not carried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from countermark.serving.requests import problem


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """Ends the handling of a request with a problem document (RFC 9457).

    Args:
        status: HTTP status.
        title: What it is, in a word or two.
        detail: What the caller can do about it; names fields and rules, never values.
        headers: Further headers of the answer.
        more: Further members of the document.
    """

    def __init__(
        self, status: int, title: str, detail: str, *, headers: Sequence[tuple[str, str]] = (), **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers
        self.body = problem(status, title, detail, **more)
