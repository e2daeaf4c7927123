"""Clips that seem to be recorded at one place, where no name or table says what belongs together.

Each clip is described by its colours (`vidlstm.media.descriptors.colour`, the mean over its frames), which a
crop, a zoom or a person that moves hardly change. Clips whose colours are near are joined by average
linkage, in order of their distance.

What it is worth: of the 120 clips of UT-Interaction the nearest one is of the same recording for 85 %
(their texture 35 %, an 8x8 thumbnail 58 %, the CNN's features 83 %). Not covered: recordings at places that
look alike, which are joined, and one recording whose light changes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import ModelConfig
from vidlstm.data.groups import BY_BACKGROUND
from vidlstm.data.samples import Dataset, find_dataset
from vidlstm.engine.events import FeaturesNotKept, Progress
from vidlstm.engine.extraction.clips import extract_clips
from vidlstm.engine.extraction.films.extractor import probe_film
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.errors import DataError
from vidlstm.settings import DataSettings, MachineSettings

FEWEST_CLIPS = 20
"""Of fewer, nothing is said: what is near depends on the others."""
MOST_CLIPS = 10_000
"""More are not compared with one another: their distances take memory with the square."""
NEAR = 0.2
"""Distance of clips that are near, as a share of the median distance of two clips. One clip of each
recording of UT-Interaction leaves 0.38 to the next (median), all clips 0.13; 500 photographs 0.33."""
NEAR_SHARE = 1 / 3
"""Share of clips with a near one that is told: independent clips have 2 to 8 %, UT-Interaction 78 %."""
JOINED = 0.55
"""Distance up to which clusters are joined, likewise a share of the median. Of the pairs of one recording of
UT-Interaction 81 % are then in one cluster (0.45: 73 %, 0.35: 57 %)."""

Vectors = NDArray[np.float32]


def find_grouped_dataset(
    settings: DataSettings, machine: MachineSettings, *, cache: bool
) -> Generator[Progress | FeaturesNotKept, None, Dataset]:
    """Find the samples as `find_dataset` does; look at the clips where names tell no groups.

    Yields:
        Progress of that.

    Raises:
        DataError: The data cannot be used.

    Returns:
        With the clusters as groups where they are asked for, or with a caution where clips are near.
    """
    dataset = find_dataset(settings, probe_film)
    asked = settings.group_by == BY_BACKGROUND
    comparable = FEWEST_CLIPS <= len(dataset.samples) <= MOST_CLIPS
    if not asked and (dataset.groups_known or not comparable):
        return dataset
    if len(dataset.samples) > MOST_CLIPS:
        raise DataError(
            f"{dataset.root}: `group_by={BY_BACKGROUND}` compares {MOST_CLIPS} clips at most, and there are "
            f"{len(dataset.samples)}; name the groups in a table or by a regular expression"
        )
    vectors = yield from _describe(dataset, machine, cache=cache)
    known = [i for i, vector in enumerate(vectors) if vector is not None]
    distances = _distances(np.stack([vector for vector in vectors if vector is not None]))
    clusters = cluster(distances)
    names = [s.group for s in dataset.samples]
    for number, members in enumerate(clusters, 1):
        for member in members:
            names[known[member]] = f"background_{number:0{len(str(len(clusters)))}}"
    if asked:
        samples = tuple(replace(s, group=name) for s, name in zip(dataset.samples, names, strict=True))
        rule = "Groups are clips with near-equal backgrounds, found by their colours."
        return replace(dataset, samples=samples, group_rule=rule, groups_known=True, cautions=())
    share = near_share(distances)
    if share < NEAR_SHARE:
        return dataset
    largest = max(clusters, key=len)
    some = ", ".join(dataset.samples[known[i]].path.name for i in largest[:3])
    return replace(
        dataset,
        cautions=(
            *dataset.cautions,
            f"{share:.0%} of the clips have nearly the background of another one, so recordings are probably "
            f"in several subsets, and the score is not that of new ones: {len(clusters)} backgrounds, one of "
            f"them shared by {len(largest)} clips ({some}, ...). Name the groups in a column named group, or "
            f"try `group_by={BY_BACKGROUND}`.",
        ),
    )


def _describe(
    dataset: Dataset, machine: MachineSettings, *, cache: bool
) -> Generator[Progress | FeaturesNotKept, None, list[Vectors | None]]:
    """Return the colours of each clip, None of one that cannot be read."""
    config = ModelConfig.default(dataset.kind, dataset.classes)
    request = replace(ReadRequest.for_training(config), streams=("colour",), views=1, mirror=False)
    with open_extractor(request, None, machine, cache=cache) as extractor:
        clips = yield from extract_clips(extractor, dataset)
    return [
        None if e.features is None else e.features.summaries["colour"][0].astype(np.float32)
        for e in clips.extracted
    ]


def _distances(vectors: Vectors) -> Vectors:
    """Return distances `(N, N)` as a share of their median, infinite on the diagonal."""
    squares = np.square(vectors).sum(1)
    distances: Vectors = np.sqrt(np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0))
    middle = np.median(distances[np.triu_indices(len(vectors), 1)]) if len(vectors) > 1 else 0.0
    distances /= max(float(middle), 1e-9)
    np.fill_diagonal(distances, np.inf)
    return distances


def near_share(distances: Vectors) -> float:
    """Return the share of clips that have a near one, by distances `(N, N)` in units of their median."""
    return float((distances.min(axis=1) < NEAR).mean())


def cluster(distances: Vectors, threshold: float = JOINED) -> list[tuple[int, ...]]:
    """Join what is nearer than a threshold by average linkage (UPGMA: Sokal & Michener 1958).

    By the nearest-neighbour chain (Murtagh 1983), which takes time with the square of the number.

    Args:
        distances: Symmetric, `(N, N)`.
        threshold: Mean distance of two clusters that are still joined.

    Returns:
        The members of each cluster, ascending, in order of their first.
    """
    distances = distances.copy()
    np.fill_diagonal(distances, np.inf)
    number = len(distances)
    members: dict[int, list[int]] = {i: [i] for i in range(number)}
    alive = dict.fromkeys(range(number))
    found: list[list[int]] = []
    chain: list[int] = []
    while alive:
        if not chain:
            chain = [next(iter(alive))]
        last = chain[-1]
        near = int(distances[last].argmin())
        if not distances[last, near] <= threshold:  # nor is any other to be joined with it, ever
            found.append(members.pop(last))
            distances[last] = distances[:, last] = np.inf
            del alive[last]
            chain = []
        elif len(chain) > 1 and distances[last, chain[-2]] <= distances[last, near]:
            other = chain[-2]
            sizes = len(members[last]), len(members[other])
            row = (sizes[0] * distances[last] + sizes[1] * distances[other]) / sum(sizes)
            row[[last, other]] = np.inf
            distances[other] = distances[:, other] = np.inf
            distances[last] = distances[:, last] = row
            members[last] += members.pop(other)
            del alive[other]
            chain = chain[:-2]
        else:
            chain.append(near)
    return sorted(tuple(sorted(cluster)) for cluster in found)
