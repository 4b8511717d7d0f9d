"""Opening a pack: is it a pack, is it whole, does it say what its hash says?"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from pydantic import ValidationError

from countermark.errors import ReportError
from countermark.records.decision import Closed
from countermark.records.digest import digest_of
from countermark.records.evidence import Pack

FORMAT = "countermark/pack/1"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_pack(pack_bytes: bytes) -> Pack:
    """Read and verify ``pack.json``.

    Args:
        pack_bytes: The file as it is on disk.

    Raises:
        ReportError: If the bytes are not JSON, the format is unknown, ``pack_hash`` is not the SHA-256 of the
            canonical JSON without that field, or the schema is broken.
    """
    document = _document(pack_bytes)
    found = document.get("format")
    if found != FORMAT:
        raise ReportError(
            "unknown pack format",
            expected=f"'{FORMAT}'",
            got=f"'{found}'" if isinstance(found, str) else "no format",
            hint="render the pack with the version of countermark that wrote it",
        )
    claimed = document.get("pack_hash")
    actual = digest_of({key: value for key, value in document.items() if key != "pack_hash"})
    if claimed != actual:
        raise ReportError(
            "'pack_hash' does not match the content of the pack",
            expected=actual,
            got=str(claimed) or "an empty hash",
            hint="the file was edited or cut after it was sealed; build the evidence again",
        )
    try:
        pack = Pack.model_validate(document)
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ReportError(
            f"pack.json breaks its schema at '{place}'",
            expected="a document that docs/reference/pack.schema.json accepts",
            got=f"{broken.error_count()} problems, the first: {first['msg']}",
        ) from broken
    if not _DATE.fullmatch(pack.as_of):
        raise ReportError("'as_of' is not a date", expected="YYYY-MM-DD", got=repr(pack.as_of[:20]))
    return pack


def _document(pack_bytes: bytes) -> dict[str, Any]:
    try:
        document = json.loads(pack_bytes, parse_constant=_no_constant)
    except (ValueError, RecursionError) as broken:
        got = type(broken).__name__
        raise ReportError("the pack is not JSON", expected="UTF-8 JSON without NaN", got=got) from None
    if not isinstance(document, dict):
        raise ReportError("the pack is not a JSON object", expected="an object", got=type(document).__name__)
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_Read = TypeVar("_Read", bound=Closed)


def read_record(content: bytes, of: type[_Read], named: str) -> _Read:
    """Read the record of a short document.

    Args:
        content: JSON.
        of: Type of the record.
        named: What messages call it.

    Raises:
        ReportError: If the bytes are no such record.
    """
    try:
        return msgspec.json.decode(content, type=of)
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise ReportError(f"this is no {named}", got=str(broken)[:200]) from None
