"""Merkle trees as RFC 6962 and RFC 9162 define them: a short proof that one entry is among a million.

A leaf is the hash of an entry, so a proof needs no other entry. All hashes are SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256 of a zero byte and the data (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of a one byte and both children (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The perfect subtrees that a growing tree is made of, widest first: all that is needed to go on and for the root.

    Args:
        size: Leaves so far.
        nodes: Roots of the perfect subtrees, one for every bit set in ``size``, widest first.

    Raises:
        ValueError: If there are more or fewer nodes than the size has bits set.
    """

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if len(nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(nodes)}")
        self.size = size
        self.nodes = list(nodes)

    def add(self, data: bytes) -> None:
        """Append a leaf."""
        node, size, nodes = leaf_hash(data), self.size, self.nodes
        while size & 1:
            node = node_hash(nodes.pop(), node)
            size >>= 1
        nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Root of the tree; the hash of nothing for an empty one."""
        if not self.nodes:
            return hashlib.sha256(b"").digest()
        node = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            node = node_hash(left, node)
        return node


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over some leaves' data."""
    tree = Frontier()
    for data in leaves:
        tree.add(data)
    return tree.root()


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from a leaf to the root (RFC 6962, 2.1.1).

    Args:
        leaves: Data of every leaf.
        index: Place of the leaf.

    Raises:
        IndexError: If there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of a tree of {len(leaves)}")
    level = [leaf_hash(data) for data in leaves]
    path = []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level, index = above, index // 2
    return path


def includes(data: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether a path proves that a tree of some size and root has this leaf at this place (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, place, last = leaf_hash(data), index, size - 1
    for beside in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(beside, node)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, beside)
        place >>= 1
        last >>= 1
    return last == 0 and node == expected_root


def consistency_path(leaves: Sequence[bytes], earlier: int) -> list[bytes]:
    """Hashes that show that a tree has grown out of its first ``earlier`` leaves (RFC 6962, 2.1.2).

    Raises:
        IndexError: If ``earlier`` is not between one and the number of leaves.
    """
    if not 0 < earlier <= len(leaves):
        raise IndexError(f"an earlier size of {earlier} in a tree of {len(leaves)}")
    return _subproof(leaves, earlier, True)


def _subproof(leaves: Sequence[bytes], earlier: int, whole: bool) -> list[bytes]:
    if earlier == len(leaves):
        return [] if whole else [root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if earlier <= split:
        return [*_subproof(leaves[:split], earlier, whole), root(leaves[split:])]
    return [*_subproof(leaves[split:], earlier - split, False), root(leaves[:split])]


def is_consistent(earlier: int, earlier_root: bytes, size: int, size_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a path proves that the later tree only added leaves to the earlier one (RFC 9162, 2.1.4.2)."""
    if not 0 < earlier <= size:
        return False
    if earlier == size:
        return not path and earlier_root == size_root
    nodes = list(path)
    if earlier & (earlier - 1) == 0:
        nodes.insert(0, earlier_root)
    if not nodes:
        return False
    place, last = earlier - 1, size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    before = after = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            after = node_hash(after, node)
        place >>= 1
        last >>= 1
    return last == 0 and before == earlier_root and after == size_root
