"""Group clips by background, for data whose names and tables give no groups.

Each clip is described by its colours (`vidlstm.media.descriptors.colour`, the mean over its frames). A crop,
a zoom or a moving person hardly changes them. Clips are clustered by colour distance, with average linkage.

Measured on the 120 clips of UT-Interaction: for 85 % the nearest clip is from the same recording (texture
35 %, an 8x8 thumbnail 58 %, CNN features 83 %). Limits: recordings at places that look alike are merged, and
a recording whose light changes is split.
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
"""Minimum number of clips to check: the threshold is relative to the median distance of all clips."""
MOST_CLIPS = 10_000
"""Maximum number of clips to compare: memory grows with the square of their number."""
NEAR = 0.2
"""Distance below which two clips are near, as a share of the median distance of two clips. Median distance
to the nearest clip in UT-Interaction: 0.13; with one clip per recording 0.38; in 500 photographs 0.33."""
NEAR_SHARE = 1 / 3
"""Minimum share of clips with a near one for a caution. Independent clips: 2 to 8 %; UT-Interaction: 78 %."""
JOINED = 0.55
"""Maximum distance at which clusters are merged, also as a share of the median. It puts 81 % of the pairs
from one recording of UT-Interaction into one cluster (0.45: 73 %, 0.35: 57 %)."""

Vectors = NDArray[np.float32]


def find_grouped_dataset(
    settings: DataSettings, machine: MachineSettings, *, cache: bool
) -> Generator[Progress | FeaturesNotKept, None, Dataset]:
    """Find the samples as `find_dataset` does, and compare the clips' backgrounds if there are no groups.

    Yields:
        Progress of the comparison.

    Raises:
        DataError: The data cannot be used.

    Returns:
        The data set, with the clusters as groups if requested, or with a caution if many clips are near.
    """
    dataset = find_dataset(settings, probe_film)
    asked = settings.group_by == BY_BACKGROUND
    comparable = FEWEST_CLIPS <= len(dataset.samples) <= MOST_CLIPS
    if not asked and (dataset.groups_known or not comparable):
        return dataset
    if len(dataset.samples) > MOST_CLIPS:
        raise DataError(
            f"{dataset.root}: {len(dataset.samples)} clips, but `group_by={BY_BACKGROUND}` compares at most "
            f"{MOST_CLIPS}; name the groups in a table or with a regular expression"
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
        rule = "Clips with similar backgrounds, found by colour, form a group."
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
            f"{share:.0%} of the clips have nearly the same background as another clip: {len(clusters)} "
            f"backgrounds, the most common in {len(largest)} clips ({some}, ...). Clips of one recording are "
            "probably in several subsets, so the score is too high for new recordings. Name the groups in a "
            f"column named group, or try `group_by={BY_BACKGROUND}`.",
        ),
    )


def _describe(
    dataset: Dataset, machine: MachineSettings, *, cache: bool
) -> Generator[Progress | FeaturesNotKept, None, list[Vectors | None]]:
    """Return the colour descriptor of each clip; None if the clip cannot be read."""
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
    """Return the share of clips with a near one, from distances `(N, N)` in units of their median."""
    return float((distances.min(axis=1) < NEAR).mean())


def cluster(distances: Vectors, threshold: float = JOINED) -> list[tuple[int, ...]]:
    """Cluster by average linkage (UPGMA: Sokal & Michener 1958), up to a distance threshold.

    Uses the nearest-neighbour chain algorithm (Murtagh 1983): O(N^2) time.

    Args:
        distances: Symmetric, `(N, N)`.
        threshold: Maximum mean distance of two clusters that are merged.

    Returns:
        The members of each cluster, ascending; clusters in order of their first member.
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
        if not distances[last, near] <= threshold:  # no other cluster can ever merge with it
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
