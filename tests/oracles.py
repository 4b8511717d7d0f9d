"""Worked examples with known answers (tests/data/oracles.json), each computed two independent ways."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).parent / "data" / "oracles.json"


@dataclass(frozen=True)
class Oracle:
    """One worked example.

    Attributes:
        inputs: What goes in.
        expected: What must come out.
        tolerance: Absolute; 0 means exact.
    """

    name: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    tolerance: float

    def check(self, key: str, got: Any) -> None:
        """Assert that ``got`` equals ``expected[key]`` within the tolerance."""
        want = self.expected[key]
        assert got is not None, f"{self.name}: '{key}' is None, expected {want}"
        np.testing.assert_allclose(got, want, rtol=0, atol=self.tolerance, err_msg=f"{self.name}: {key}")

    def rows(self) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Outcome and PD per obligor, for examples that give counts per grade (``n``, ``d``, ``pd``)."""
        n, d, pd = (np.asarray(self.inputs[key]) for key in ("n", "d", "pd"))
        y = np.concatenate([np.repeat(np.array([0, 1], dtype=np.int8), (k - e, e)) for k, e in zip(n, d, strict=True)])
        return y, np.repeat(pd.astype(np.float64), n)


@functools.cache
def _read() -> dict[str, Oracle]:
    items = json.loads(_FILE.read_text(encoding="utf-8"))
    return {i["name"]: Oracle(i["name"], i["inputs"], i["expected"], float(i["tolerance"])) for i in items}


def oracle(name: str) -> Oracle:
    """The worked example of that name; KeyError if there is none."""
    return _read()[name]


def oracle_names() -> tuple[str, ...]:
    """Names of all worked examples."""
    return tuple(_read())
