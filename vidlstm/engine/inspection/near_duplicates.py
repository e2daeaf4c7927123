"""Find files that look alike: copies that were encoded anew, resized, a little recoloured or flipped.

By a perceptual hash of a few frames (dHash: Krawetz 2013, "Kind of like that"), and for the few that
it leaves by a closer look at the same grey cells. Copies that were cut, shifted in time, cropped or
turned are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 8, 9
"""Cells of a frame that the hash compares, each with its right neighbour."""
SIDE = 72
"""Pixels of the square frames that are looked at: a multiple of the numbers of cells."""
NEAR_BITS = 0.07
"""Share of bits in which near duplicates differ at most."""
NEAR_LEVELS = 0.06
"""By how much their cells differ at most, as a share of their spread. In real clips of one scene and
one recording the least was 0.1 and more, in copies encoded anew at half the size 0.03 and less."""

_STEP = 3.0  # grey levels that count as a difference: compression makes smaller ones
_EVEN = 3.0  # spread of grey levels below which a clip is too even to be told from others
_BLOCK = 512  # clips whose distances to all others are held at once

Look = NDArray[np.float32]


def look_at(frames: Iterable[NDArray[np.uint8]]) -> Look | None:
    """Return what a clip looks like from afar: the grey levels of each frame's cells.

    Returns:
        float32 `(M, ROWS, COLUMNS)` about their mean; None when they are too even to be recognised.
    """
    cells = np.stack([_cells(frame) for frame in frames])
    cells -= cells.mean()
    return cells.astype(np.float32) if cells.std() >= _EVEN else None


def _cells(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = frame.astype(np.float64).mean(axis=2)
    grey = grey.repeat(-(-ROWS // len(grey)), axis=0).repeat(-(-COLUMNS // grey.shape[1]), axis=1)
    bands = np.stack([part.mean(axis=0) for part in np.array_split(grey, ROWS)])
    return np.stack([part.mean(axis=1) for part in np.array_split(bands, COLUMNS, axis=1)], axis=1)


def _hashes(looks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return whether each cell is clearly brighter than the one to its left, as +1 and -1, `(N, bits)`."""
    bits = np.diff(looks, axis=3) > _STEP
    return bits.reshape(len(looks), -1).astype(np.float32) * 2 - 1


def near_pairs(looks: Sequence[Look | None]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of files, by number, that look the same, plain or mirrored."""
    known = np.array([i for i, look in enumerate(looks) if look is not None], dtype=np.int64)
    if len(known) < 2:
        return
    plain = np.stack([look for look in looks if look is not None])
    spread = plain.std(axis=(1, 2, 3))
    hashes = _hashes(plain)
    least = hashes.shape[1] * (1 - 2 * NEAR_BITS)
    for other in (plain, plain[..., ::-1]):
        other_hashes = _hashes(other)
        for start in range(0, len(known), _BLOCK):
            # A product of +1 and -1 counts the bits that agree; looking closer is for the few it leaves.
            agreement = np.triu(hashes[start : start + _BLOCK] @ other_hashes[start:].T, 1)
            for row, column in zip(*(np.nonzero(agreement >= least)), strict=True):
                first, second = start + row, start + column
                distance = np.abs(plain[first] - other[second]).mean()
                if distance <= NEAR_LEVELS * min(spread[first], spread[second]):
                    yield int(known[first]), int(known[second])


def cluster(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Join pairs to groups: what is near the same file is in the same group. In ascending order."""
    parent: dict[int, int] = {}

    def find(item: int) -> int:
        while parent.setdefault(item, item) != item:
            parent[item] = item = parent[parent[item]]
        return item

    for first, second in pairs:
        parent[find(first)] = find(second)
    groups: dict[int, list[int]] = {}
    for item in sorted(parent):
        groups.setdefault(find(item), []).append(item)
    return sorted(tuple(members) for members in groups.values())
