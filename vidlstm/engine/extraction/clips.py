"""The clips of a data set with their features, for training and evaluation.

Clips that cannot be read have no features. They are left out of training and count as errors when scored.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.data.samples import Dataset
from vidlstm.engine.distributed import World
from vidlstm.engine.events import ClipProblem, ClipsExtracted, FeaturesNotKept, Progress
from vidlstm.engine.extraction.extractor import Extracted, Extractor
from vidlstm.engine.extraction.films.extractor import FilmExtractor, cut
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.errors import DataError, UsageError
from vidlstm.evaluations import Scored
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.backends.torch import full_precision
from vidlstm.models.encoders import Encoder, encode_clips, for_inference


@dataclass(frozen=True)
class Clips:
    """The samples of a data set and their extracted features.

    Args:
        dataset: The samples.
        extracted: The result for each sample, in the same order.
        films: The result for each whole film that the samples are parts of; empty if the samples are clips.
    """

    dataset: Dataset
    extracted: tuple[Extracted, ...]
    films: tuple[Extracted, ...] = ()

    def labels(self) -> NDArray[np.int64]:
        """Return the class of every sample, int64 `(N,)`."""
        number = {name: i for i, name in enumerate(self.dataset.classes)}
        return np.array([number[s.label] for s in self.dataset.samples], np.int64)

    def usable(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return those of `indices` that have features."""
        return np.array([i for i in indices if self.extracted[i].features is not None], np.int64)

    def features(self, index: int) -> ClipFeatures:
        """Return the features of a usable sample."""
        features = self.extracted[index].features
        assert features is not None
        return features

    def encoded(self, encoder: Encoder | None, indices: Iterable[int]) -> list[ClipFeatures]:
        """Return the features of usable samples; if they are still pixels, the encoder encodes them."""
        chosen = [self.features(i) for i in indices]
        if encoder is None or not self.pixels:
            return chosen
        quick = for_inference(encoder)
        return [_encode_kept(quick, clip) for clip in chosen]

    def all_encoded(self, encoder: Encoder | None) -> Clips:
        """Return these clips with all pixels encoded."""
        there = self.usable(range(len(self.extracted)))
        extracted = list(self.extracted)
        for i, features in zip(there, self.encoded(encoder, there), strict=True):
            extracted[i] = replace(extracted[i], features=features)
        return replace(self, extracted=tuple(extracted))

    def only(self, streams: Collection[str]) -> Clips:
        """Return these clips with some of their streams."""
        extracted = (
            e if e.features is None else replace(e, features=e.features.only(streams)) for e in self.extracted
        )
        return replace(self, extracted=tuple(extracted))

    @property
    def pixels(self) -> bool:
        """Whether the `rgb` stream holds pixels, for an encoder in training."""
        first = next(e.features for e in self.extracted if e.features is not None)
        return "rgb" in first.sequences and first.sequences["rgb"].dtype == np.uint8

    def widths(self) -> dict[str, int]:
        """Return the feature dimension D of every stream."""
        first = next(e.features for e in self.extracted if e.features is not None)
        return {
            name: values.shape[-1]
            for part in (first.sequences, first.summaries)
            for name, values in part.items()
        }

    def scored(
        self,
        indices: Sequence[int],
        scores: Mapping[int, NDArray[np.float64]],
        novelty: Mapping[int, float] | None = None,
    ) -> list[Scored]:
        """Return the record of each sample; samples without scores are included and count as errors."""
        records = []
        for i in indices:
            sample = self.dataset.samples[i]
            row = tuple(float(p) for p in scores[i]) if i in scores else ()
            new = None if novelty is None else novelty.get(i)
            problem = self.extracted[i].problem
            records.append(Scored(sample.path, sample.label, sample.group, row, problem, new, sample.times))
        return records

    def summary(self) -> ClipsExtracted:
        """Return the facts about all clips, and the problems of those that could not be read whole."""
        return ClipsExtracted(
            tuple(e.info for e in self.extracted if e.info is not None),
            tuple(
                ClipProblem(e.path, e.problem, e.features is not None)
                for e in self.extracted
                if e.problem is not None
            ),
        )


def extract_clips(
    extractor: Extractor, dataset: Dataset, world: World | None = None
) -> Generator[Progress | FeaturesNotKept, None, Clips]:
    """Extract every sample, yielding progress. Distributed processes share the work.

    Raises:
        DataError: No sample can be read.

    Returns:
        The samples with their features.
    """
    world = world or World()
    films = [film.path for film in dataset.films]
    mine = world.shard(films or [s.path for s in dataset.samples])
    own: list[Extracted] = []
    yield Progress("extraction", 0, len(mine))
    results = _film_extractor(extractor).extract(mine) if films else extractor.extract(mine)
    for extracted in results:
        own.append(extracted)
        yield Progress("extraction", len(own), len(mine))
    everything = tuple(world.gather(own))
    clips = _parts_of_films(dataset, everything, extractor.request) if films else Clips(dataset, everything)
    if all(e.features is None for e in clips.extracted):
        first = clips.extracted[0]
        why = first.problem.message if first.problem else ""
        total = len(dataset.samples)
        raise DataError(f"{dataset.root}: none of the {total} clips can be read; {first.path}: {why}")
    store = extractor.store
    if store is not None and store.write_error is not None:
        yield FeaturesNotKept(store.root, str(store.write_error))
    return clips


def _film_extractor(extractor: Extractor) -> FilmExtractor:
    """Return an extractor for films with the request, source and store of an extractor for clips.

    Raises:
        UsageError: The model's sampling cannot be used on films.
    """
    request = extractor.request
    if request.film_rate is None:
        raise UsageError("sampling: dense counts frames; spans of films need uniform or fps")
    return FilmExtractor(request, extractor.source, extractor.store, request.film_rate)


def _parts_of_films(dataset: Dataset, films: tuple[Extracted, ...], request: ReadRequest) -> Clips:
    """Return the samples with features cut from those of their films."""
    by_path = {film.path: film for film in films}
    extracted = []
    for sample in dataset.samples:
        film, start, end = by_path[sample.path], sample.start or 0.0, sample.end or 0.0
        if film.features is None or film.info is None:
            extracted.append(film)
            continue
        features = cut(film.features, request.film_rate or 1.0, start, end, request)
        info = replace(film.info, seconds=end - start)
        extracted.append(Extracted(sample.path, features, info, film.problem))
    return Clips(dataset, tuple(extracted), films)


def _encode_kept(encoder: Encoder, clip: ClipFeatures) -> ClipFeatures:
    """Replace pixels `(M, V, T, S, S, C)` by the encoder's features `(M, V, T, D)`."""
    pixels = torch.from_numpy(clip.sequences["rgb"]).to(encoder.mean.device)
    copies, views, moments = pixels.shape[:3]
    there = torch.ones(copies * views, moments, dtype=torch.bool, device=pixels.device)
    with torch.inference_mode(), full_precision():
        steps, _ = encode_clips(encoder, pixels.flatten(0, 1), there)
    values = steps.view(copies, views, -1, steps.shape[-1]).to("cpu", torch.float16).numpy()
    return ClipFeatures({**clip.sequences, "rgb": values}, clip.summaries)
