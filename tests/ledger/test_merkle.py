from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.ledger.merkle import (
    Frontier,
    consistency_path,
    includes,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    root,
)

# The published test tree of Certificate Transparency: eight leaves and the root of every prefix.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

trees = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_published_tree(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size]


def recursive(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(recursive(leaves[:split]), recursive(leaves[split:]))


@given(trees)
def test_a_growing_tree_has_the_root_of_the_definition(leaves: list[bytes]) -> None:
    assert root(leaves) == recursive(leaves)


@given(trees, st.data())
def test_every_leaf_is_proven_and_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path, top, size = inclusion_path(leaves, index), root(leaves), len(leaves)
    assert len(path) <= (size - 1).bit_length()
    assert includes(leaves[index], index, size, path, top)
    assert not includes(leaves[index] + b"!", index, size, path, top)
    assert not includes(leaves[index], index, size, path, leaf_hash(top))
    assert not includes(leaves[index], size, size, path, top)
    assert not includes(leaves[index], index, size, [*path, top], top)
    if path:
        assert not includes(leaves[index], index, size, path[:-1], top)
        wrong = data.draw(st.integers(0, len(path) - 1))
        assert not includes(leaves[index], index, size, [*path[:wrong], top, *path[wrong + 1 :]], top)


@given(trees, st.data())
def test_a_leaf_at_another_place_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(0, len(leaves) - 1))
    proven = includes(leaves[index], other, len(leaves), inclusion_path(leaves, index), root(leaves))
    assert not proven or leaves[index] == leaves[other]


@given(trees, st.data())
def test_a_tree_that_only_grew_is_consistent(leaves: list[bytes], data: st.DataObject) -> None:
    earlier = data.draw(st.integers(1, len(leaves)))
    size, path = len(leaves), consistency_path(leaves, earlier)
    before, after = root(leaves[:earlier]), root(leaves)
    assert is_consistent(earlier, before, size, after, path)
    rewritten = root([b"other", *leaves[1:]])
    if leaves[0] != b"other":
        assert not is_consistent(earlier, before, size, rewritten, path)
        assert not is_consistent(earlier, root([b"other", *leaves[1:earlier]]), size, after, path)
    if path:
        assert not is_consistent(earlier, before, size, after, path[:-1])
    assert not is_consistent(earlier, before, size, after, [*path, before])
    assert not is_consistent(size + 1, before, size, after, path)


@given(trees, st.data())
def test_a_tree_goes_on_from_its_frontier(leaves: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(leaves)))
    first = Frontier()
    for leaf in leaves[:cut]:
        first.add(leaf)
    resumed = Frontier(first.size, first.nodes)
    for leaf in leaves[cut:]:
        resumed.add(leaf)
    assert resumed.root() == root(leaves)
    assert len(first.nodes) == cut.bit_count()


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="a tree of 3 leaves has 2 perfect subtrees, not 1"):
        Frontier(3, [b"x"])
    with pytest.raises(IndexError, match="leaf 2 of a tree of 2"):
        inclusion_path([b"a", b"b"], 2)
    with pytest.raises(IndexError, match="an earlier size of 0"):
        consistency_path([b"a"], 0)
    assert not is_consistent(2, b"", 4, b"", [])
    assert not is_consistent(3, b"", 4, b"", [])
