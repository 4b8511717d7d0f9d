"""From named columns, or one named row, to the matrix of numbers and codes that the kernels read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import ScorerError
from countermark.scoring.format import InputPart
from countermark.scoring.jit import kernel

_ABSENT = object()
_PLAIN = frozenset((float, int, type(None)))


@kernel
def any_infinite(encoded: NDArray[np.float64]) -> bool:
    """Whether a number of an encoded row is infinite."""
    found = False
    for k in range(encoded.size):
        found |= np.abs(encoded[k]) == np.inf
    return found


class InputEncoder:
    """Checks inputs and writes them as float64: the value (NaN if missing), or the code of a level.

    An encoded row holds the numeric inputs first, then the categorical ones; ``position`` says where each original
    input stands.
    """

    def __init__(self, inputs: Sequence[InputPart]) -> None:
        numeric = [k for k, part in enumerate(inputs) if part.type == "numeric"]
        categorical = [k for k, part in enumerate(inputs) if part.type == "categorical"]
        order = numeric + categorical
        self.position = np.empty(len(order), dtype=np.int64)
        self.position[order] = np.arange(len(order))
        self._inputs = tuple(inputs[k] for k in order)
        self._codes = tuple(_code_table(part) for part in self._inputs)
        self._categorical = tuple((inputs[k].name, _code_table(inputs[k]) or {}) for k in categorical)
        self._refusing = tuple(k for k, j in enumerate(numeric) if inputs[j].missing == "refuse")
        self._get_numeric = itemgetter(*(inputs[k].name for k in numeric)) if len(numeric) > 1 else None

    def matrix(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Encoded rows, float64 (inputs, n).

        Raises:
            ScorerError: If a column is missing, of the wrong type or shape, or holds what the file refuses.
        """
        found = [self._column(part, columns) for part in self._inputs]
        rows = {array.shape[0] for array in found}
        if len(rows) != 1:
            raise ScorerError(
                "the columns differ in length",
                expected=f"{found[0].shape[0]} rows as in '{self._inputs[0].name}'",
                got=f"lengths {', '.join(str(n) for n in sorted(rows))}",
            )
        encoded = np.empty((len(found), rows.pop()), dtype=np.float64)
        for k, (part, array) in enumerate(zip(self._inputs, found, strict=True)):
            codes = self._codes[k]
            encoded[k] = _numbers(part, array) if codes is None else _levels(part, array, codes)
        return encoded

    def vector(self, row: Mapping[str, Any]) -> NDArray[np.float64]:
        """One encoded row, float64 (inputs,); ``None`` and NaN are missing.

        An infinite number may pass: the kernel that reads the row finds it, and :meth:`refuse_infinite` names it.

        Raises:
            ScorerError: As :meth:`matrix`.
        """
        if self._get_numeric is None:
            return self._slow_vector(row)
        try:
            values = self._get_numeric(row)
            codes = [table[row[name]] for name, table in self._categorical]
        except (KeyError, TypeError):
            return self._slow_vector(row)
        if not _PLAIN.issuperset(map(type, values)) or -1.0 in codes:
            return self._slow_vector(row)
        try:
            encoded = np.array((*values, *codes), dtype=np.float64)
        except OverflowError:
            return self._slow_vector(row)
        for k in self._refusing:
            if encoded[k] != encoded[k]:
                return self._slow_vector(row)
        return encoded

    def refuse_infinite(self, row: Mapping[str, Any]) -> None:
        """Name the input of a row that a kernel found to be infinite.

        Raises:
            ScorerError: Always, for a row that holds an infinite number.
        """
        self._slow_vector(row)

    def _slow_vector(self, row: Mapping[str, Any]) -> NDArray[np.float64]:
        read = [
            self._number(part, row.get(part.name, _ABSENT))
            if codes is None
            else self._code(part, row.get(part.name, _ABSENT), codes)
            for part, codes in zip(self._inputs, self._codes, strict=True)
        ]
        return np.array(read, dtype=np.float64)

    def _column(self, part: InputPart, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if part.name not in columns:
            raise _absent(part, "column", columns)
        array = columns[part.name]
        if not isinstance(array, np.ndarray) or array.ndim != 1:
            raise ScorerError(
                f"column '{part.name}' has the wrong shape",
                expected="a one-dimensional array",
                got=f"{array.ndim} dimensions" if isinstance(array, np.ndarray) else type(array).__name__,
            )
        kinds = "fiu" if part.type == "numeric" else "OU"
        if array.dtype.kind not in kinds:
            raise ScorerError(
                f"column '{part.name}' has the wrong type",
                expected="float64 with NaN for missing" if part.type == "numeric" else "text with None for missing",
                got=str(array.dtype),
            )
        return array

    def _number(self, part: InputPart, value: Any) -> float:
        if value is _ABSENT:
            raise _absent(part, "input", None)
        if value is None:
            value = math.nan
        if isinstance(value, bool | np.bool_ | str) or not isinstance(value, int | float | np.integer | np.floating):
            raise _wrong_scalar(part, "a number or None", value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise _infinite(part, 1)
        if math.isnan(number) and part.missing == "refuse":
            raise _missing(part, 1)
        return number

    def _code(self, part: InputPart, value: Any, codes: dict[str | None, float]) -> float:
        if value is _ABSENT:
            raise _absent(part, "input", None)
        if value is not None and not isinstance(value, str):
            raise _wrong_scalar(part, "text or None", value)
        code = codes.get(value, _unseen_code(part))
        if code < 0:
            raise _missing(part, 1) if value is None else _unseen(part, 1)
        return code


def _code_table(part: InputPart) -> dict[str | None, float] | None:
    if part.levels is None:
        return None
    table: dict[str | None, float] = {level: float(k) for k, level in enumerate(part.levels)}
    table[None] = float(len(part.levels)) if part.missing == "accept" else -1.0
    return table


def _unseen_code(part: InputPart) -> float:
    known = len(part.levels or ())
    return {"accept": known + 1.0, "missing": float(known), "refuse": -2.0}[part.unseen or "refuse"]


def _numbers(part: InputPart, array: NDArray[Any]) -> NDArray[np.float64]:
    values = array.astype(np.float64, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        infinite = int(np.count_nonzero(np.isinf(values)))
        if infinite:
            raise _infinite(part, infinite)
        if part.missing == "refuse":
            raise _missing(part, int(values.size - np.count_nonzero(finite)))
    return values


def _levels(part: InputPart, array: NDArray[Any], codes: dict[str | None, float]) -> NDArray[np.float64]:
    get, other = codes.get, _unseen_code(part)
    values = array.tolist()
    wrong = {type(value).__name__ for value in values if value is not None and type(value) is not str}
    if wrong:
        raise ScorerError(
            f"column '{part.name}' holds values that are no text",
            expected="text, or None for missing",
            got=", ".join(sorted(wrong)),
        )
    encoded = np.array([get(value, other) for value in values], dtype=np.float64)
    if other < 0.0 or part.missing == "refuse":
        missing = int(np.count_nonzero(encoded == -1.0))
        if missing:
            raise _missing(part, missing)
        unseen = int(np.count_nonzero(encoded == -2.0))
        if unseen:
            raise _unseen(part, unseen)
    return encoded


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _absent(part: InputPart, what: str, found: Iterable[str] | None) -> ScorerError:
    names = None if found is None else sorted(found)
    return ScorerError(
        f"{what} '{part.name}' is missing",
        expected=f"a {part.type} {what} '{part.name}'",
        got=None if names is None else f"{len(names)} columns" + (f": {', '.join(names[:12])}" if names else ""),
    )


def _wrong_scalar(part: InputPart, expected: str, value: Any) -> ScorerError:
    return ScorerError(f"input '{part.name}' has the wrong type", expected=expected, got=type(value).__name__)


def _infinite(part: InputPart, count: int) -> ScorerError:
    return ScorerError(
        f"input '{part.name}' is infinite", expected="a finite number, or missing", got=f"{_rows(count)} with infinity"
    )


def _missing(part: InputPart, count: int) -> ScorerError:
    return ScorerError(
        f"input '{part.name}' must not be missing", expected="a value in every row", got=f"{_rows(count)} without one"
    )


def _unseen(part: InputPart, count: int) -> ScorerError:
    return ScorerError(
        f"input '{part.name}' has a level that the scorer does not know",
        expected=f"one of its {len(part.levels or ())} levels",
        got=f"{_rows(count)} with another",
        hint="the scorer file says 'unseen: refuse' for this input",
    )
