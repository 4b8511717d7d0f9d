"""The frozen scorer: what a release serves, in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.errors import ScorerError
from countermark.records.digest import sha256_hex
from countermark.scoring import additive, calibrate, trees, trees_row
from countermark.scoring.encode import InputEncoder
from countermark.scoring.format import ScorecardModel, ScorerDocument, TreesModel, parse, serialise
from countermark.scoring.layout import Layout


@dataclass(frozen=True, slots=True)
class ScorerInput:
    """One original input of a scorer.

    Attributes:
        name: Column name.
        type: ``numeric`` or ``categorical``.
        levels: Known levels of a categorical input; None for a numeric one.
        missing: Whether a missing value is accepted or refused.
        unseen: What becomes of a level the file does not know: ``accept``, ``missing`` or ``refuse``.
    """

    name: str
    type: Literal["numeric", "categorical"]
    levels: tuple[str, ...] | None
    missing: Literal["accept", "refuse"] = "accept"
    unseen: Literal["accept", "missing", "refuse"] | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """One grade of the master scale: probabilities up to and including ``upper``, with a frozen PD."""

    name: str
    upper: float
    pd: float


class RowScore(NamedTuple):
    """What the scorer says about one row.

    Attributes:
        margin: Raw score, higher is riskier (log-odds before calibration; the prediction under the identity link).
        p: Calibrated probability; the margin under the identity link.
        grade: Grade index, 0 = best; -1 where the scorer has no grades.
        phi: Contribution of each input to the margin, float64 (inputs,), if asked for.
    """

    margin: float
    p: float
    grade: int
    phi: NDArray[np.float64] | None = None


_new_tuple = tuple.__new__
"""Half the time of the class's own constructor."""


class EncodedRow:
    """One row as a scorer read it; no other scorer can score it."""

    __slots__ = ("numbers", "scorer")

    def __init__(self, scorer: FrozenScorer, numbers: NDArray[np.float64]) -> None:
        self.scorer = scorer
        self.numbers = numbers


class FrozenScorer:
    """A model with its preprocessing, calibration and grades, the same to the last bit wherever it runs.

    One row and a million rows give the same bits. Nothing in it can be changed; a method writes to no argument.

    Args:
        document: What :func:`countermark.scoring.format.parse` or a learner's freeze made.
    """

    def __init__(self, document: ScorerDocument) -> None:
        self.document = document
        self.inputs: tuple[ScorerInput, ...] = tuple(
            ScorerInput(part.name, part.type, part.levels, part.missing, part.unseen) for part in document.inputs
        )
        self.grades: tuple[Grade, ...] = tuple(Grade(part.name, part.upper, part.pd) for part in document.grades)
        self._encoder = InputEncoder(document.inputs)
        self._read = self._encoder.vector
        self._finish = calibrate.pack(document)
        self._forest: trees.Packed | None = None
        self._score_row: Callable[..., tuple[float, float, int]] = additive.score_row
        self._explain_row: Callable[..., tuple[float, float, int]] = additive.explain_row
        if isinstance(document.model, TreesModel):
            self._forest = trees.pack(document.model, self._encoder.position)
            self._score_row, self._explain_row = trees_row.score_row, trees_row.explain_row

    @classmethod
    def from_bytes(cls, data: bytes, *, digest: str | None = None) -> FrozenScorer:
        """Open a scorer file.

        Args:
            data: The bytes of the file.
            digest: SHA-256 the bytes must have, where a release recorded one.

        Raises:
            ScorerError: If the file is damaged, of an unknown version, or not the one that was recorded.
        """
        found = sha256_hex(data)
        if digest is not None and digest != found:
            raise ScorerError(
                "scorer file is not the recorded one", expected=f"SHA-256 {digest}", got=f"SHA-256 {found}"
            )
        return cls(parse(data))

    def to_bytes(self) -> bytes:
        """The canonical bytes of the scorer file."""
        return serialise(self.document)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, 64 hex digits."""
        return sha256_hex(self.to_bytes())

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the original inputs, in the order of the contributions."""
        return tuple(item.name for item in self.inputs)

    def check_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Refuse columns that the scorer cannot score. Columns that are no input are ignored.

        Raises:
            ScorerError: If a column is missing, of the wrong type or length, infinite, missing or unseen where the
                file refuses that. Names the column, what was expected and what was got.
        """
        self._encoder.matrix(columns)

    def margin(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Raw scores, float64 (n,), higher is riskier.

        Args:
            columns: float64 with NaN for a numeric input, object (text or None) for a categorical one.

        Raises:
            ScorerError: As :meth:`check_columns`.
        """
        encoded = self._encoder.matrix(columns)
        margins = np.empty(encoded.shape[1], dtype=np.float64)
        if self._forest is None:
            additive.batch_margins(encoded, *self._row, margins)
        else:
            space = trees.scratch(self._forest, self._ranked)
            trees.batch_margins(encoded, self._forest, self._ranked, space, margins)
        return margins

    def probability(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of margins, float64 (n,), strictly between 0 and 1."""
        margins = np.ascontiguousarray(margin, dtype=np.float64)
        p = np.empty_like(margins)
        calibrate.probabilities(margins, self._finish, p)
        return p

    def grade(self, p: NDArray[np.float64]) -> NDArray[np.int64]:
        """Grade index of each probability, int64 (n,), 0 = best. A probability on a bound has the better grade.

        Raises:
            ScorerError: If the scorer has no grades.
        """
        if not self.grades:
            raise ScorerError("the scorer has no grades", hint="declare 'grades' in the model and freeze it again")
        values = np.ascontiguousarray(p, dtype=np.float64)
        index = np.empty(values.size, dtype=np.int64)
        calibrate.grades(values, self._finish, index)
        return index

    def contributions(self, columns: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], float]:
        """Exact contribution of every original input to every margin, and the margin they start from.

        Trees: path-dependent SHAP under the training weights. Linear model and scorecard: effect less its mean over
        the frozen background sample.

        Returns:
            Contributions, float64 (n, inputs), in margin space, and the base value; each row's contributions and the
            base add up to its margin.

        Raises:
            ScorerError: As :meth:`check_columns`.
        """
        encoded = self._encoder.matrix(columns)
        phi = np.empty(encoded.shape[::-1], dtype=np.float64)
        if self._forest is None:
            additive.batch_contributions(encoded, *self._row, phi)
        else:
            space = trees.scratch(self._forest, self._ranked)
            trees.batch_contributions(encoded, self._forest, self._ranked, self._tables, space, phi)
        return phi, self.base

    def score_row(self, row: Mapping[str, Any], *, contributions: bool = False) -> RowScore:
        """Score one row of plain Python values: a number or None, text or None.

        Raises:
            ScorerError: As :meth:`check_columns`.
        """
        if contributions:
            return self._scored(self._read(row), True)
        # Written out, not through _scored: at this scale one Python call is a fiftieth of the whole.
        encoded = self._read(row)
        places, numbers = self._row
        margin, p, grade = self._score_row(encoded, places, numbers)
        if margin != margin:
            self._encoder.refuse(encoded)
        return _new_tuple(RowScore, (margin, p, grade, None))

    def encode_row(self, row: Mapping[str, Any]) -> EncodedRow:
        """Read one row, to be scored now and explained later (only where it is declined) without reading it again.

        Raises:
            ScorerError: As :meth:`check_columns`; an infinite or a refused missing number is found when it is scored.
        """
        return EncodedRow(self, self._encoder.vector(row))

    def score_encoded(self, row: EncodedRow, *, contributions: bool = False) -> RowScore:
        """Score what :meth:`encode_row` of this scorer gave, as :meth:`score_row` does.

        Raises:
            ScorerError: If another scorer encoded it, or it holds a number that this scorer refuses.
        """
        if row.scorer is not self:
            raise ScorerError("the row was encoded by another scorer", expected="what this scorer's encode_row gave")
        return self._scored(row.numbers, contributions)

    def warm_up(self) -> None:
        """Make one row's kernels ready, so that no applicant waits while they are compiled or read from the cache."""
        zeros = np.zeros(len(self.inputs))
        self._scored(zeros, False)
        self._scored(zeros, True)

    def _scored(self, encoded: NDArray[np.float64], contributions: bool) -> RowScore:
        phi = None
        if contributions:
            phi = np.empty(encoded.size)
            margin, p, grade = self._explain_row(encoded, *self._explained, phi)
        else:
            margin, p, grade = self._score_row(encoded, *self._row)
        if margin != margin:
            self._encoder.refuse(encoded)
        return _new_tuple(RowScore, (margin, p, grade, phi))

    @cached_property
    def base(self) -> float:
        """The margin that the contributions start from."""
        model = self.document.model
        return (
            trees.expected_margin(model, self._tables)
            if isinstance(model, TreesModel)
            else additive.expected_margin(self._row)
        )

    def points(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scorecard points of margins, float64 (n,): more points, less risk.

        Raises:
            ScorerError: If the scorer is no scorecard.
        """
        model = self.document.model
        if not isinstance(model, ScorecardModel):
            raise ScorerError("the scorer has no points", expected="a scorecard", got=f"model kind '{model.kind}'")
        return np.asarray(model.points.offset - model.points.factor * np.asarray(margin, dtype=np.float64))

    @cached_property
    def _ranked(self) -> Any:
        assert self._forest is not None
        return trees.pack_ranks(self._forest)

    @cached_property
    def _tables(self) -> Any:
        assert isinstance(self.document.model, TreesModel)
        return trees.tabulate(self.document.model)

    @cached_property
    def _row(self) -> Layout:
        parts = self._encoder.position, self._encoder.refuses, self._finish
        model = self.document.model
        return trees_row.pack(self.document, *parts) if isinstance(model, TreesModel) else additive.pack(model, *parts)

    @cached_property
    def _explained(self) -> tuple[NDArray[Any], ...]:
        if self._forest is None:
            return self._row
        return *self._row, *trees_row.pack_tables(self._tables, self._forest[2])
