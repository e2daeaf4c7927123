"""Find near duplicates: copies that were re-encoded, resized, slightly recoloured or mirrored.

A perceptual hash of a few frames (dHash: Krawetz 2013, "Kind of like that") selects pairs, and the mean
difference of the same grey cells decides. Copies that were cut, shifted in time, cropped or rotated are not
found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 8, 9
"""Grid of cells in a frame. The hash compares each cell with its right neighbour."""
SIDE = 72
"""Side in pixels of the compared square frames, a multiple of `ROWS` and `COLUMNS`."""
MAX_BITS = 0.07
"""Maximum share of differing hash bits between near duplicates."""
MAX_DISTANCE = 0.06
"""Maximum mean difference of their cells, as a share of the cells' standard deviation. Measured: 0.1 or more
for different clips of one scene and recording, 0.03 or less for copies re-encoded at half the size."""

_STEP = 3.0  # grey levels; smaller differences come from compression
_MIN_DEVIATION = 3.0  # grey levels; a clip below this is too uniform to be distinguished
_BLOCK = 512  # clips whose distances to all others are in memory at once

Signature = NDArray[np.float32]


def signature(frames: Iterable[NDArray[np.uint8]]) -> Signature | None:
    """Return the grey levels of a grid of cells for each frame, minus their mean.

    Returns:
        float32 `(M, ROWS, COLUMNS)`; None if the frames are too uniform to be recognised.
    """
    cells = np.stack([_cells(frame) for frame in frames])
    cells -= cells.mean()
    return cells.astype(np.float32) if cells.std() >= _MIN_DEVIATION else None


def _cells(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = frame.astype(np.float64).mean(axis=2)
    grey = grey.repeat(-(-ROWS // len(grey)), axis=0).repeat(-(-COLUMNS // grey.shape[1]), axis=1)
    bands = np.stack([part.mean(axis=0) for part in np.array_split(grey, ROWS)])
    return np.stack([part.mean(axis=1) for part in np.array_split(bands, COLUMNS, axis=1)], axis=1)


def near_pairs(signatures: Sequence[Signature | None]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of files, by index, that are near duplicates, plain or mirrored.

    Signatures of different lengths, of videos and of pictures, are not compared.
    """
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, found in enumerate(signatures):
        if found is not None:
            by_length[len(found)].append(index)
    for indices in by_length.values():
        cells = np.stack([found for i in indices if (found := signatures[i]) is not None])
        for first, second in _near_pairs(cells):
            yield indices[first], indices[second]


def _near_pairs(plain: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    deviation = plain.std(axis=(1, 2, 3))
    hashes = _hashes(plain)
    least = hashes.shape[1] * (1 - 2 * MAX_BITS)
    for other in (plain, plain[..., ::-1]):
        other_hashes = _hashes(other)
        for start in range(0, len(plain), _BLOCK):
            # The product of +1 and -1 counts agreeing bits. The distance is computed for the few remaining
            # pairs.
            agreement = np.triu(hashes[start : start + _BLOCK] @ other_hashes[start:].T, 1)
            for row, column in zip(*(np.nonzero(agreement >= least)), strict=True):
                first, second = int(start + row), int(start + column)
                distance = np.abs(plain[first] - other[second]).mean()
                if distance <= MAX_DISTANCE * min(deviation[first], deviation[second]):
                    yield first, second


def _hashes(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return whether each cell is clearly brighter than the one to its left, as +1 and -1, `(N, bits)`."""
    bits = np.diff(cells, axis=3) > _STEP
    return bits.reshape(len(cells), -1).astype(np.float32) * 2 - 1


def cluster(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Merge pairs into groups by transitivity; groups and their members are in ascending order."""
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
