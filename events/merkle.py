"""The Merkle tree over the log, RFC 6962 §2.1: leaves, growth, roots. Pure; no proofs, no storage."""

import struct
from collections.abc import Iterable
from hashlib import sha256

HASH_BYTES = 32
HEADER = struct.Struct(">q16sIH")
"""`at` in microseconds since the epoch, stream id, version in the stream, number of the fact's type: 30 bytes."""
EMPTY_ROOT = sha256().digest()

_header = HEADER.pack


def leaf_hash(at: int, stream: bytes, version: int, code: int, body: bytes) -> bytes:
    """The leaf of one event. The header has a fixed size, so no two events share their bytes.

    Raises struct.error for numbers out of range or a stream that is not 16 bytes.
    """
    if len(stream) != 16:  # struct would cut or fill it without a word
        msg = f"a stream id has 16 bytes, not {len(stream)}"
        raise struct.error(msg)
    return sha256(b"\x00" + _header(at, stream, version, code) + body).digest()


class Tree:
    """A tree that only grows. It holds one hash for each bit that is set in its size, largest subtree first."""

    __slots__ = ("_subtrees", "size")

    def __init__(self, size: int = 0, frontier: bytes = b"") -> None:
        """Continue from a stored frontier. Raises ValueError where it cannot be one of this size."""
        if size < 0 or len(frontier) != HASH_BYTES * size.bit_count():
            msg = f"{len(frontier)} bytes are not the frontier of a tree of {size} leaves"
            raise ValueError(msg)
        self.size = size
        self._subtrees = [frontier[i : i + HASH_BYTES] for i in range(0, len(frontier), HASH_BYTES)]

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash: about one more hash for each leaf, whatever the size."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order. As in binary counting: each trailing 1 of the size is a carry, a merge."""
        subtrees, size, hash_of = self._subtrees, self.size, sha256
        push, pop = subtrees.append, subtrees.pop
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = hash_of(b"\x01" + pop() + node).digest()
                carry >>= 1
            push(node)
            size += 1
        self.size = size

    def frontier(self) -> bytes:
        """What `Tree(size, frontier)` continues from: the subtree hashes in one string, largest first."""
        return b"".join(self._subtrees)

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far: the frontier folded from right to left."""
        if not self._subtrees:
            return EMPTY_ROOT
        node = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            node = sha256(b"\x01" + left + node).digest()
        return node
