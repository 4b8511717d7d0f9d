"""Dates and periods that are not written as ISO 8601: from a declared form to days, never by guessing."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.contract import DateFormat

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def parse_dates(
    text: pa.ChunkedArray, form: DateFormat, period: Literal["first_day", "last_day"] = "first_day"
) -> tuple[pa.ChunkedArray, NDArray[np.bool_]]:
    """Days of dates or periods written in a declared form.

    Args:
        text: Text values or null; blanks around them do not count.
        form: How they are written.
        period: Day that a month or a quarter stands for.

    Returns:
        date32 and a mask (n,) of values that are no such date; those are null in the column.
    """
    found = pc.extract_regex(pc.utf8_trim_whitespace(text), _pattern(form)).combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], type=found.type)
    matched = np.asarray(pc.is_valid(found).to_numpy(zero_copy_only=False), dtype=bool)
    names = {field.name for field in found.type}

    def part(name: str) -> NDArray[np.int64]:
        values = pc.fill_null(pc.struct_field(found, name), "1").cast(pa.int64())
        return np.asarray(values.to_numpy(zero_copy_only=False))

    if "quarter" in names:
        month, span = 3 * part("quarter") - 2, 3
    elif "name" in names:
        place = pc.index_in(pc.utf8_lower(pc.struct_field(found, "name")), value_set=pa.array(_MONTHS))
        month, span = np.asarray(pc.fill_null(place, -1).to_numpy(zero_copy_only=False)).astype(np.int64) + 1, 1
    else:
        month, span = part("month"), 1
    good = matched & (month >= 1) & (month <= 12)
    months = ((part("year") - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]")
    if "day" in names:
        days = days + (part("day") - 1)
        good &= days.astype("datetime64[M]") == months
    elif period == "last_day":
        days = (months + span).astype("datetime64[D]") - 1
    present = np.asarray(pc.is_valid(text).to_numpy(), dtype=bool)
    return pa.chunked_array([pa.array(days, type=pa.date32(), mask=~good)]), present & ~good


def _pattern(form: DateFormat) -> str:
    """A regular expression with named parts; one digit of day and month is enough between separators."""
    digits = r"\d{2}" if form in ("YYYYMM", "YYYYMMDD") else r"\d{1,2}"
    tokens = {
        "YYYY": r"(?P<year>\d{4})",
        "MM": f"(?P<month>{digits})",
        "DD": f"(?P<day>{digits})",
        "Mon": r"(?P<name>[A-Za-z]{3})",
        "Qn": r"[Qq](?P<quarter>[1-4])",
    }
    parts = re.split("(YYYY|Mon|MM|DD|Qn)", form)
    return "^" + "".join(tokens.get(part, part.replace(".", r"\.")) for part in parts) + "$"
