"""Kernels of symmetric trees for one row: margin, probability and grade, and exact contributions.

Every value of an input decides all splits on that input, in all trees, at once. Their outcomes are kept as one row of
bits for each interval between two borders and for each code, and a leaf index is what these rows say together: after
QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees"), where a row of bits rules leaves out. Leaves are added in tree order in float64, as for many rows,
so both give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.jit import kernel, row_kernel
from countermark.scoring import calibrate
from countermark.scoring.encode import refused
from countermark.scoring.format import InputPart, ScorerDocument, TreesModel
from countermark.scoring.layout import Layout, lay_out
from countermark.scoring.trees import Packed

(
    _SIZES, _REFUSES, _PLACE, _CODED, _EDGES, _ROWS, _BITS, _FIRST,
    _LEAVES, _SCALE, _BORDERS, _MISSING, _FINISH,
) = range(13)  # fmt: skip
_PLAYER, _PLAYERS, _ENTRY, _SHAPLEY = range(4)
_VECTOR = 64
"""Bytes of the widest vector."""


def pack(
    document: ScorerDocument, position: NDArray[np.int64], refuses: NDArray[np.int64], finish: NDArray[np.float64]
) -> Layout:
    """The flat arrays of one row's kernels.

    Args:
        document: A scorer of trees.
        position: Where each original input stands in an encoded row.
        refuses: Of each encoded input, 1 where a missing value is refused.
        finish: What :func:`countermark.scoring.calibrate.pack` gives.
    """
    model = document.model
    assert isinstance(model, TreesModel)
    depth = np.array([len(tree.splits) for tree in model.trees])
    index = np.dtype("<u1" if depth.max() <= 8 else "<u2")
    # Whole vectors of the widest processors: a remainder would be done word by word.
    words = -(-depth.size * index.itemsize // _VECTOR) * _VECTOR // 4
    used = sorted({k for tree in model.trees for k, _, _ in tree.splits})
    space = np.zeros((1, words * 4 // index.itemsize), dtype=index)
    own = [_Outcomes(document.inputs[k], k, model, space) for k in used]
    return lay_out(
        whole=(
            [len(used), depth.size, words, index.itemsize],
            refuses,
            position[used],
            [part.coded for part in own],
            np.cumsum([0, *(part.borders.size for part in own)]),
            np.cumsum([1, *(len(part.bits) for part in own)])[:-1] * words,
            np.concatenate([space, *(part.bits for part in own)]).view("<u4"),
            np.concatenate([[0], np.cumsum(1 << depth)[:-1]]),
        ),
        numbers=(
            np.concatenate([tree.leaves for tree in model.trees]),
            [model.scale, model.bias],
            np.concatenate([np.zeros(0), *(part.borders for part in own)]),
            [np.inf if k in model.missing_passes else -np.inf for k in used],
            finish,
        ),
    )


class _Outcomes:
    """Outcomes of all splits on one input: a row for each interval of its borders, or for each of its codes.

    Attributes:
        coded: Whether a row belongs to a code.
        borders: Borders between the rows, ascending; none where rows belong to codes.
        bits: Leaf indices of all trees (rows, trees) with the bits of this input's splits alone.

    Args:
        part: The input.
        k: Which it is.
        model: The trees, of which one splits on it.
        space: Leaf indices of all trees without any bit (1, trees).
    """

    def __init__(self, part: InputPart, k: int, model: TreesModel, space: NDArray[Any]) -> None:
        found = [
            (t, 1 << j, operand)
            for t, tree in enumerate(model.trees)
            for j, (owner, _, operand) in enumerate(tree.splits)
            if owner == k
        ]
        tree = np.array([t for t, _, _ in found])
        bit = np.array([b for _, b, _ in found], dtype=space.dtype)
        operand = np.array([x for _, _, x in found], dtype=np.float32)
        self.coded = part.type == "categorical"
        self.borders = np.zeros(0) if self.coded else np.unique(operand).astype(np.float64)
        self.bits = np.repeat(space, part.codes if self.coded else self.borders.size + 1, axis=0)
        if not self.coded:
            np.bitwise_or.at(self.bits, (np.searchsorted(self.borders, operand) + 1, tree), bit)
            self.bits = np.bitwise_or.accumulate(self.bits, axis=0)
            return
        values = next((encoding.values for encoding in model.encodings if encoding.input == k), None)
        for code in range(part.codes):
            passes = operand == code if values is None else np.float32(values[code]) > operand
            np.bitwise_or.at(self.bits[code], tree[passes], bit[passes])


def pack_tables(tables: Packed, depth: NDArray[np.int64]) -> Layout:
    """The flat arrays of one row's contributions: tables with the values of a leaf side by side.

    Args:
        tables: What :func:`countermark.scoring.trees.tabulate` gives.
        depth: Depth of each tree.
    """
    player, players, table, _ = tables
    sizes = players << depth
    entry = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    turned = [
        table[start : start + size].reshape(max(1, count), -1).T.ravel()
        for start, count, size in zip(entry, players, sizes, strict=True)
    ]
    return lay_out(whole=(player, players, entry), numbers=(np.concatenate(turned),))


@kernel
def _leaves(
    encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64]
) -> NDArray[np.uint32]:
    """Leaf indices of one encoded row in all trees, several to a word."""
    sizes = places[_SIZES]
    words = places[sizes + 2]
    word = np.zeros(words, dtype=np.uint32)
    place, coded, edges, rows = places[_PLACE], places[_CODED], places[_EDGES], places[_ROWS]
    bits, borders, missing = np.uint64(places[_BITS]), np.int64(places[_BORDERS]), places[_MISSING]
    for i in range(places[sizes]):
        x = encoded[places[place + i]]
        if places[coded + i] > 0:
            row = np.int64(x)
        else:
            x = numbers[missing + i] if x != x else np.float64(np.float32(x))
            low = np.int64(places[edges + i])
            row, size = np.int64(0), np.int64(places[edges + i + 1]) - low
            while size > 0:  # How many borders are below the value.
                half = (size + 1) >> 1
                if x > numbers[borders + low + row + half - 1]:
                    row += half
                size -= half
        # Unsigned: a signed index could be negative, and every one would be checked for it.
        at = bits + np.uint64(places[rows + i]) + np.uint64(row) * np.uint64(words)
        for w in range(words):
            word[w] |= places[at + w]
    return word


@kernel
def _leaf(word: NDArray[np.uint32], t: int, width: int) -> np.int64:
    """Leaf index in one tree, ``width`` bytes long."""
    if width == 1:
        return np.int64((word[t >> 2] >> ((t & 3) << 3)) & 0xFF)
    return np.int64((word[t >> 1] >> ((t & 1) << 4)) & 0xFFFF)


@kernel
def _finish(
    word: NDArray[np.uint32], places: NDArray[np.uint32], numbers: NDArray[np.float64]
) -> tuple[float, float, int]:
    """Margin, probability and grade from the leaves of one row."""
    sizes, first, leaves = places[_SIZES], places[_FIRST], places[_LEAVES]
    scale, finish, width = places[_SCALE], places[_FINISH], places[sizes + 3]
    total = 0.0
    for t in range(places[sizes + 1]):
        total += numbers[leaves + places[first + t] + _leaf(word, t, width)]
    margin = total * numbers[scale] + numbers[scale + 1]
    p = calibrate.probability(margin, numbers, finish)
    return margin, p, calibrate.grade(p, numbers, finish)


@row_kernel
def score_row(
    encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64]
) -> tuple[float, float, int]:
    """Margin, probability and grade of one encoded row; NaN if it holds what the file refuses."""
    if refused(encoded, places, places[_REFUSES]):
        return np.nan, np.nan, -1
    return _finish(_leaves(encoded, places, numbers), places, numbers)


@row_kernel
def explain_row(
    encoded: NDArray[np.float64],
    places: NDArray[np.uint32],
    numbers: NDArray[np.float64],
    owners: NDArray[np.uint32],
    tables: NDArray[np.float64],
    phi: NDArray[np.float64],
) -> tuple[float, float, int]:
    """As :func:`score_row`, and contributions by original input, into ``phi``."""
    if refused(encoded, places, places[_REFUSES]):
        return np.nan, np.nan, -1
    word = _leaves(encoded, places, numbers)
    sizes, scale = places[_SIZES], numbers[places[_SCALE]]
    player, players, entry, shapley = owners[_PLAYER], owners[_PLAYERS], owners[_ENTRY], owners[_SHAPLEY]
    for k in range(phi.size):
        phi[k] = 0.0
    for t in range(places[sizes + 1]):
        count = owners[players + t]
        at = shapley + owners[entry + t] + _leaf(word, t, places[sizes + 3]) * count
        for i in range(count):
            phi[owners[player + i]] += tables[at + i]
        player += count
    for k in range(phi.size):
        phi[k] *= scale
    return _finish(word, places, numbers)
