"""The Merkle tree against the definition of RFC 6962 §2.1 and published tree heads."""

import struct
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.merkle import HEADER, Tree, leaf_hash

STREAM = bytes(range(16))
PUBLISHED_INPUTS = [
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
PUBLISHED_ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]


def root_by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word; `leaves` are leaf hashes."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    left, right = root_by_definition(leaves[:k]), root_by_definition(leaves[k:])
    return sha256(b"\x01" + left + right).digest()


def numbered(count: int) -> list[bytes]:
    return [sha256(b"\x00" + number.to_bytes(4, "big")).digest() for number in range(count)]


def test_the_empty_tree_has_the_hash_of_the_empty_string() -> None:
    assert Tree().root() == sha256(b"").digest()


@pytest.mark.parametrize("size", range(len(PUBLISHED_ROOTS)))
def test_the_published_tree_heads_of_certificate_transparency_are_reproduced(size: int) -> None:
    tree = Tree()
    for data in PUBLISHED_INPUTS[:size]:
        tree.append(sha256(b"\x00" + data).digest())
    assert tree.root() == PUBLISHED_ROOTS[size]


def test_every_size_up_to_300_has_the_root_of_the_definition() -> None:
    leaves, tree, found = numbered(300), Tree(), []
    for leaf in leaves:
        found.append(tree.root())
        tree.append(leaf)
    found.append(tree.root())
    assert found == [root_by_definition(leaves[:size]) for size in range(301)]


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70), st.integers(0, 70))
def test_a_tree_continued_from_its_frontier_is_the_same_tree(leaves: list[bytes], cut: int) -> None:
    first = Tree()
    first.extend(leaves[:cut])
    second = Tree(first.size, first.frontier())
    second.extend(leaves[cut:])
    assert (second.size, second.root()) == (len(leaves), root_by_definition(leaves))


def test_the_frontier_holds_one_hash_for_each_bit_of_the_size() -> None:
    tree = Tree()
    lengths = []
    for leaf in numbered(64):
        lengths.append(len(tree.frontier()))
        tree.append(leaf)
    assert lengths == [32 * size.bit_count() for size in range(64)]


@pytest.mark.parametrize(("size", "frontier"), [(0, b"x" * 32), (1, b""), (3, b"x" * 32), (3, b"x" * 65), (-1, b"")])
def test_bytes_that_cannot_be_the_frontier_of_that_size_are_refused(size: int, frontier: bytes) -> None:
    with pytest.raises(ValueError, match="frontier"):
        Tree(size, frontier)


def test_a_leaf_is_the_hash_of_a_header_of_thirty_bytes_and_the_body() -> None:
    header = (5).to_bytes(8, "big") + STREAM + (6).to_bytes(4, "big") + (7).to_bytes(2, "big")
    assert (leaf_hash(5, STREAM, 6, 7, b"{}"), HEADER.size) == (sha256(b"\x00" + header + b"{}").digest(), 30)


@pytest.mark.parametrize(
    ("at", "stream", "version", "code"),
    [(2**63, STREAM, 1, 1), (1, STREAM, 2**32, 1), (1, STREAM, 1, 2**16), (1, STREAM, -1, 1), (1, b"short", 1, 1)],
)
def test_a_header_that_does_not_fit_is_refused_and_never_cut(at: int, stream: bytes, version: int, code: int) -> None:
    with pytest.raises(struct.error):
        leaf_hash(at, stream, version, code, b"{}")


@given(st.integers(0, 4), st.integers(0, 255))
def test_any_other_header_or_body_has_another_leaf(field: int, value: int) -> None:
    fields = [1000, 1000, 1000, 1000, 1000]
    changed = [*fields]
    changed[field] = value

    def leaf(at: int, stream: int, version: int, code: int, body: int) -> bytes:
        return leaf_hash(at, stream.to_bytes(16, "big"), version, code, str(body).encode())

    assert leaf(*changed) != leaf(*fields)
