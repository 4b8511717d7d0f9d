"""Kernels of symmetric trees for many rows: margins, and tabulated exact contributions.

Every split is one comparison ``value > border`` between float32 numbers: a missing value is plus or minus infinity,
and a one-hot split is a 0/1 column compared with a half. Rows are first ranked among the borders of each column, so
that a split compares two small integers. The leaves of a row are added in tree order in float64.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.jit import kernel
from countermark.scoring.format import Tree, TreesModel

Packed: TypeAlias = tuple[Any, ...]
"""A plain tuple of arrays: Numba takes a named tuple three times slower."""

BLOCK = 256
"""Rows that are evaluated together; their ranks stay in the processor's first cache."""


def pack(model: TreesModel, position: NDArray[np.int64]) -> Packed:
    """Flat arrays of a forest, in the order that the kernels unpack.

    Args:
        model: The trees.
        position: Where each original input stands in an encoded row.

    Returns:
        Column and border of each split; depth of each tree; leaves; scale; bias; then of each column its place in the
        encoded row, the code it indicates (-1: it is a value), what stands for missing, and where its encoding table
        starts (-1: none); and the encoding tables.
    """
    encodings = {encoding.input: encoding.values for encoding in model.encodings}
    column_of: dict[tuple[int, int], int] = {}
    split_column, border = [], []
    for tree in model.trees:
        for k, test, operand in tree.splits:
            key = (k, int(operand)) if test == "is" else (k, -1)
            split_column.append(column_of.setdefault(key, len(column_of)))
            border.append(0.5 if test == "is" else operand)
    table: list[float] = []
    table_start: list[int] = []
    for k, _ in column_of:
        table_start.append(len(table) if k in encodings else -1)
        table.extend(encodings.get(k, ()))
    passes = set(model.missing_passes)
    keys = list(column_of) or [(0, -1)]
    return (
        np.array(split_column, dtype=np.uint32),
        np.array(border, dtype=np.float32),
        np.array([len(tree.splits) for tree in model.trees], dtype=np.int64),
        np.array([leaf for tree in model.trees for leaf in tree.leaves], dtype=np.float64),
        float(model.scale),
        float(model.bias),
        np.array([position[k] for k, _ in keys], dtype=np.int64),
        np.array([code for _, code in keys], dtype=np.int64),
        np.array([np.inf if k in passes else -np.inf for k, _ in keys], dtype=np.float32),
        np.array(table_start or [-1], dtype=np.int64),
        np.array(table or [0.0], dtype=np.float64),
    )


def pack_ranks(packed: Packed) -> Packed:
    """The splits as ranks among the borders of their column.

    ``value > border`` holds exactly when the number of distinct borders below the value exceeds the border's rank.

    Returns:
        Rank of each split in the smallest type that holds it; first border of each column; borders.
    """
    split_column, border, columns = packed[0], packed[1], len(packed[6])
    borders = [np.unique(border[split_column == c]) for c in range(columns)]
    rank = np.zeros(border.size, dtype=np.int64)
    for c, own in enumerate(borders):
        rank[split_column == c] = np.searchsorted(own, border[split_column == c])
    start = np.concatenate([[0], np.cumsum([own.size for own in borders])]).astype(np.int64)
    small = max(own.size for own in borders) <= np.iinfo(np.uint8).max
    flat = np.concatenate([*borders, np.zeros(1, dtype=np.float32)])
    return rank.astype(np.uint8 if small else np.uint16), start, flat


def scratch(packed: Packed, ranked: Packed) -> Packed:
    """Working space of one call: ranks (columns, block) and leaf indices (block)."""
    leaf = np.uint8 if packed[2].max() <= 8 else np.uint16
    return np.empty((len(packed[6]), BLOCK), dtype=ranked[0].dtype), np.empty(BLOCK, dtype=leaf)


def tabulate(model: TreesModel) -> Packed:
    """Exact path-dependent SHAP values of every leaf of every tree.

    In a symmetric tree the leaf fixes the outcome of every split, so a row's contributions from a tree are a
    constant of its leaf. Lundberg, Erion and Lee (2018), "Consistent individualized feature attribution for tree
    ensembles": an input outside the coalition is averaged over, with the training weights below each node.

    Returns:
        Inputs of each tree (flat, in order of first split), number of inputs of each tree, table (flat, by tree,
        input, leaf), expected value of each tree under its weights.
    """
    players: list[int] = []
    counts: list[int] = []
    tables: list[NDArray[np.float64]] = []
    expected: list[float] = []
    for tree in model.trees:
        own, owner = _players(tree)
        table, mean = _shapley_table(tree, owner, len(own))
        players.extend(own)
        counts.append(len(own))
        tables.append(table.T.ravel())
        expected.append(mean)
    return (
        np.array(players or [0], dtype=np.int64),
        np.array(counts, dtype=np.int64),
        np.concatenate([*tables, np.zeros(1)]),
        np.array(expected, dtype=np.float64),
    )


def expected_margin(model: TreesModel, tables: Packed) -> float:
    """The margin that the contributions start from: the mean under the training weights."""
    total = 0.0
    for value in tables[3]:
        total += float(value)
    return total * model.scale + model.bias


def _shapley_table(tree: Tree, owner: NDArray[np.int64], players: int) -> tuple[NDArray[np.float64], float]:
    """Shapley values (leaf, player) of one tree, and its expected value.

    A leaf without weight counts as 0 in the coalitions of other leaves, as in CatBoost. Under monotone constraints
    such a leaf can have a value; a row that falls into it is explained with the values of all leaves, so that its
    contributions still add up (CatBoost then weighs all leaves anew, by the rows it is asked to explain).
    """
    leaves, weights = np.array(tree.leaves, dtype=np.float64), np.array(tree.weights, dtype=np.float64)
    nodes = _node_weights(weights)
    table, mean = _tabulate_tree(np.where(weights > 0.0, leaves, 0.0), nodes, owner, players)
    unsupported = (weights == 0.0) & (leaves != 0.0)
    if unsupported.any():
        table[unsupported] = _tabulate_tree(leaves, nodes, owner, players)[0][unsupported]
    return table, mean


def _players(tree: Tree) -> tuple[list[int], NDArray[np.int64]]:
    own: list[int] = []
    owner = np.empty(len(tree.splits), dtype=np.int64)
    for j, (k, _, _) in enumerate(tree.splits):
        if k not in own:
            own.append(k)
        owner[j] = own.index(k)
    return own, owner


def _node_weights(leaf_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of all nodes as a heap: node 1 is the root, node i has children 2i and 2i + 1."""
    size = leaf_weights.size
    nodes = np.zeros(2 * size)
    nodes[size:] = leaf_weights
    for i in range(size - 1, 0, -1):
        nodes[i] = nodes[2 * i] + nodes[2 * i + 1]
    return nodes


@kernel
def _tabulate_tree(
    leaves: NDArray[np.float64], nodes: NDArray[np.float64], owner: NDArray[np.int64], players: int
) -> tuple[NDArray[np.float64], float]:
    """Shapley values (leaf, player) of one tree, and its expected value.

    The highest bit of the leaf index is the root of the path, as in CatBoost. For each coalition the tree is folded
    from the leaves up: a split outside the coalition is averaged by weight, one inside keeps both sides.
    """
    size, depth, coalitions = leaves.size, owner.size, 1 << players
    factorial = np.ones(players + 1)
    for i in range(1, players + 1):
        factorial[i] = factorial[i - 1] * i
    value = np.empty((coalitions, size))
    work = np.empty((2, size))
    for members in range(coalitions):
        for leaf in range(size):
            work[0, leaf] = leaves[leaf]
        # After folding bit j, work[leaf] is the value of the node above, for the row that goes the way of 'leaf'.
        for j in range(depth):
            step = 1 << j
            source, target = j & 1, 1 - (j & 1)
            inside = (members >> owner[j]) & 1
            for leaf in range(size):
                if inside:
                    work[target, leaf] = work[source, leaf]
                else:
                    left = leaf & ~step
                    parent = (size + leaf) >> (j + 1)
                    low, high = nodes[2 * parent], nodes[2 * parent + 1]
                    if low + high > 0.0:
                        work[target, leaf] = (low * work[source, left] + high * work[source, left | step]) / (
                            low + high
                        )
                    else:
                        work[target, leaf] = 0.5 * (work[source, left] + work[source, left | step])
        for leaf in range(size):
            value[members, leaf] = work[depth & 1, leaf]
    table = np.zeros((size, players))
    for members in range(coalitions):
        inside = 0
        for player in range(players):
            inside += (members >> player) & 1
        for player in range(players):
            if (members >> player) & 1:
                share = factorial[inside - 1] * factorial[players - inside] / factorial[players]
                for leaf in range(size):
                    table[leaf, player] += share * (value[members, leaf] - value[members & ~(1 << player), leaf])
    return table, value[0, 0]


@kernel
def _value(x: float, code: int, missing: Any) -> Any:
    """What the splits of a column compare with their borders, float32.

    Scalars alone: an array passed to a helper in an inner loop costs two atomic reference counts a call.
    """
    if code >= 0:
        return np.float32(1.0) if x == code else np.float32(0.0)
    return missing if x != x else np.float32(x)


@kernel
def _fill_ranks(encoded: NDArray[np.float64], start: int, packed: Packed, ranked: Packed, ranks: NDArray[Any]) -> int:
    """Ranks (column, row) of up to a block of rows; returns how many rows."""
    place, code, missing, table_start, table = packed[6], packed[7], packed[8], packed[9], packed[10]
    border_start, borders = ranked[1], ranked[2]
    count = min(ranks.shape[1], encoded.shape[1] - start)
    value = np.zeros(ranks.shape[1], dtype=np.float32)
    rank = np.empty(ranks.shape[1], dtype=np.int32)
    for c in range(place.size):
        own = encoded[place[c], start : start + count]
        for r in range(own.size):
            x = own[r]
            if table_start[c] >= 0:
                x = table[table_start[c] + np.int64(x)]
            value[r] = _value(x, code[c], missing[c])
        rank[:] = 0
        for b in range(border_start[c], border_start[c + 1]):
            border = borders[b]
            for r in range(rank.size):
                rank[r] += value[r] > border
        into = ranks[c]
        for r in range(rank.size):
            into[r] = rank[r]
    return int(count)


@kernel
def _fill_leaves(ranks: NDArray[Any], columns: NDArray[np.uint32], rank: NDArray[Any], leaf: NDArray[Any]) -> None:
    """Leaf indices of a block of rows in one tree, from the columns and ranks of its splits."""
    leaf[:] = 0
    for j in range(columns.size):
        own, limit, bit = ranks[columns[j]], rank[j], 1 << j
        for r in range(leaf.size):
            leaf[r] |= bit if own[r] > limit else 0


@kernel
def batch_margins(
    encoded: NDArray[np.float64], packed: Packed, ranked: Packed, space: Packed, margins: NDArray[np.float64]
) -> None:
    """Margins of encoded rows (inputs, n), into ``margins``."""
    columns, depth, leaves, scale, bias = packed[0], packed[2], packed[3], packed[4], packed[5]
    rank = ranked[0]
    ranks, leaf = space
    total = np.empty(leaf.size, dtype=np.float64)
    for start in range(0, encoded.shape[1], leaf.size):
        count = _fill_ranks(encoded, start, packed, ranked, ranks)
        total[:] = 0.0
        split, first = 0, 0
        for t in range(depth.size):
            end = split + depth[t]
            _fill_leaves(ranks, columns[split:end], rank[split:end], leaf)
            own = leaves[first : first + (1 << depth[t])]
            for r in range(leaf.size):
                total[r] += own[leaf[r]]
            split += depth[t]
            first += 1 << depth[t]
        for r in range(count):
            margins[start + r] = total[r] * scale + bias


@kernel
def batch_contributions(
    encoded: NDArray[np.float64],
    packed: Packed,
    ranked: Packed,
    tables: Packed,
    space: Packed,
    phi: NDArray[np.float64],
) -> None:
    """Contributions of encoded rows (inputs, n), into ``phi`` (n, inputs), by original input."""
    columns, depth, scale, rank = packed[0], packed[2], packed[4], ranked[0]
    players, counts, table, _ = tables
    ranks, leaf = space
    total = np.empty((phi.shape[1], leaf.size), dtype=np.float64)
    for start in range(0, encoded.shape[1], leaf.size):
        count = _fill_ranks(encoded, start, packed, ranked, ranks)
        total[:] = 0.0
        split, player, entry = 0, 0, 0
        for t in range(depth.size):
            end = split + depth[t]
            _fill_leaves(ranks, columns[split:end], rank[split:end], leaf)
            for i in range(counts[t]):
                own, into = table[entry : entry + (1 << depth[t])], total[players[player + i]]
                for r in range(leaf.size):
                    into[r] += own[leaf[r]]
                entry += 1 << depth[t]
            split += depth[t]
            player += counts[t]
        for r in range(count):
            for k in range(phi.shape[1]):
                phi[start + r, k] = total[k, r] * scale
