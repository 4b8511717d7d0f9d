"""From named columns, or one named row, to the matrix of numbers and codes that the kernels read."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import ScorerError
from countermark.metrics.jit import kernel
from countermark.scoring.format import InputPart

_ABSENT = object()
_NAN = math.nan
_NUMBER = frozenset((float,))
_MISSING = type(None)
_PLAIN = frozenset((float, int, _MISSING, np.float64, np.float32, np.int64, np.int32))


@kernel
def refused(encoded: NDArray[np.float64], places: NDArray[np.uint32], refuses: int) -> bool:
    """Whether an encoded row holds an infinite number, or misses one where the file refuses that."""
    found = False
    for k in range(encoded.size):
        x = encoded[k]
        found |= (np.abs(x) == np.inf) | ((x != x) & (places[refuses + k] > 0))
    return found


class _Codes(dict[str | None, float]):
    """Codes of one input's levels; a text that is none of them has the code of the unseen."""

    def __init__(self, part: InputPart) -> None:
        super().__init__({level: float(k) for k, level in enumerate(part.levels or ())})
        if part.missing == "accept":
            self[None] = float(len(self))
        self._unseen = _unseen_code(part)

    def __missing__(self, level: object) -> float:
        if self._unseen < 0.0 or type(level) is not str:
            raise KeyError
        return self._unseen


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
        self._size = len(order)
        self.refuses = np.array(
            [part.type == "numeric" and part.missing == "refuse" for part in self._inputs], dtype=np.int64
        )
        self._codes = tuple(_code_table(part) for part in self._inputs)
        self._numbers_of = _getter([inputs[k].name for k in numeric])
        self._texts = tuple((inputs[k].name, _Codes(inputs[k])) for k in categorical)
        self._write: Callable[..., None] = struct.Struct(f"{len(order)}d").pack_into

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

        An infinite number may pass, and a missing one where the file refuses that: the kernel that reads the row finds
        it, and :meth:`refuse` names it.

        Raises:
            ScorerError: As :meth:`matrix`.
        """
        encoded = np.empty(self._size)
        try:
            values: Sequence[Any] = self._numbers_of(row)
            kinds = {*map(type, values)}
            if kinds != _NUMBER:
                if not kinds <= _PLAIN:
                    return self._slow_vector(row)
                if _MISSING in kinds:
                    values = [_NAN if value is None else value for value in values]
            self._write(encoded, 0, *values, *[codes[row[name]] for name, codes in self._texts])
        except (KeyError, TypeError, struct.error):
            return self._slow_vector(row)
        return encoded

    def refuse(self, encoded: NDArray[np.float64]) -> None:
        """Name the input of an encoded row that a kernel refused; nothing happens where there is none.

        Raises:
            ScorerError: If a number is infinite, or missing where the file refuses that.
        """
        for part, refuses, x in zip(self._inputs, self.refuses, encoded, strict=True):
            if math.isinf(x):
                raise _infinite(part, 1)
            if refuses and math.isnan(x):
                raise _missing(part, 1)

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


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """The values of the names, as a tuple for any number of names."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple([row[name] for name in names])


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
