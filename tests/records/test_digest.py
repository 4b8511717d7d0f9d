from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.digest import (
    canonical_json,
    digest_of,
    file_digest,
    pretty_json,
    round_significant,
    sha256_hex,
)
from tests.oracles import oracle

FINITE = st.floats(allow_nan=False, allow_infinity=False)
DOCUMENT = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_worked_example() -> None:
    found = oracle("canonical_json_sha256")
    assert digest_of(found.inputs["document"]) == found.expected["sha256"]


def test_canonical_bytes_are_sorted_without_spaces_and_in_utf8() -> None:
    assert (
        canonical_json({"b": [1, 2.5, None, True], "a": {"é": "ü€"}})
        == '{"a":{"é":"ü€"},"b":[1,2.5,null,true]}'.encode()
    )


def test_the_digest_of_nothing_is_the_known_one() -> None:
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(DOCUMENT)
def test_canonical_and_pretty_bytes_read_back_as_the_document(document: Any) -> None:
    for write in (canonical_json, pretty_json):
        try:
            data = write(document)
        except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form
            return
        assert json.loads(data) == document
    assert pretty_json(document).endswith(b"\n")


@given(st.dictionaries(st.text("abcdé", max_size=3), st.integers(), max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(document: dict[str, int], random: Any) -> None:
    items = list(document.items())
    random.shuffle(items)
    assert digest_of(dict(items)) == digest_of(document)
    assert pretty_json(dict(items)) == pretty_json(document)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_not_is_refused(value: float) -> None:
    for write in (canonical_json, pretty_json):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"a": [value]})


def test_a_value_that_differs_in_the_last_bit_has_another_digest() -> None:
    assert digest_of(0.1 + 0.2) != digest_of(0.3)
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


@given(st.binary(max_size=4096))
def test_the_digest_of_a_file_is_that_of_its_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        assert file_digest(path) == sha256_hex(data) == hashlib.sha256(data).hexdigest()


def test_the_digest_is_the_same_in_another_process_hash_seed_and_locale() -> None:
    document = {"z": 1, "é": {"b": [0.1, None], "a": "ü"}}
    script = f"from countermark.records.digest import digest_of; print(digest_of({document!a}))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C", "PYTHONUTF8": "0"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == digest_of(document)


# --- significant digits ---------------------------------------------------------------------------------------------

KNOWN: Sequence[tuple[float, int, float]] = (
    (123456.789, 4, 123500.0),
    (0.000123456, 3, 0.000123),
    (-9.99951, 4, -10.0),
    (1.0, 9, 1.0),
    (2.5, 1, 2.0),  # exactly half: to the even digit
    (3.5, 1, 4.0),
    (5e-324, 9, 5e-324),
    (1.7976931348623157e308, 17, 1.7976931348623157e308),
)


@pytest.mark.parametrize(("value", "digits", "expected"), KNOWN)
def test_known_roundings(value: float, digits: int, expected: float) -> None:
    assert round_significant(value, digits) == expected


@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf])
def test_zero_and_infinities_pass_through(value: float) -> None:
    found = round_significant(value, 9)
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value)
    assert math.isnan(round_significant(math.nan, 9))


@given(st.floats(-1e300, 1e300), st.integers(1, 17))
def test_rounding_twice_is_rounding_once_and_odd(value: float, digits: int) -> None:
    once = round_significant(value, digits)
    assert round_significant(once, digits) == once
    assert round_significant(-value, digits) == -once


@given(st.floats(-1e300, 1e300), st.integers(1, 17))
def test_the_error_is_at_most_half_of_the_last_digit(value: float, digits: int) -> None:
    rounded = round_significant(value, digits)
    if abs(value) < 1e-290:
        return
    exact, found = Decimal(value), Decimal(rounded)
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    spacing = Decimal(math.ulp(rounded))
    assert abs(found - exact) <= unit / 2 + spacing


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.integers(1, 17))
def test_rounding_keeps_the_order(a: float, b: float, digits: int) -> None:
    low, high = sorted((a, b))
    assert round_significant(low, digits) <= round_significant(high, digits)


@given(st.floats(-1e300, 1e300))
def test_seventeen_digits_keep_the_double(value: float) -> None:
    assert round_significant(value, 17) == value
