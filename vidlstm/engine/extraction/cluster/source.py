"""A source of features whose decoders and encoders are on the nodes of a Ray cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from vidlstm.engine.extraction.cluster.actor import Opener
from vidlstm.engine.extraction.cluster.cluster import Cluster, Crew
from vidlstm.engine.extraction.films.reading import PIXELS, FilmPart
from vidlstm.engine.extraction.source import Made, Order, Source
from vidlstm.errors import FailureCode, InputError
from vidlstm.stores import address_of

_CLIPS = 8  # per batch: few, so that all actors finish at about the same time
_PIXEL_CLIPS = 2  # megabytes each

FilmResult = tuple[list[FilmPart], InputError | None]
"""The parts of a film, and the error if they end early."""


class ClusterSource:
    """Computes features on a cluster, identical to the byte to those of one machine.

    The features of a film are yielded only after all of it has been read.

    Args:
        cluster: The cluster.
        digest: Digest of the encoder, as in `Source`.
        opener: Opens the source that each actor holds.
    """

    def __init__(self, cluster: Cluster, digest: str, opener: Opener) -> None:
        self.digest = digest
        self._cluster = cluster
        self._opener = opener
        self._crew: Crew[Order, Made] | None = None

    def clips(self, orders: Iterable[Order]) -> Iterator[list[Made]]:
        """Yield the result for each clip, in order, in lists of results that are ready at the same time."""
        if self._crew is None:
            most = _PIXEL_CLIPS if self.digest == PIXELS else _CLIPS
            self._crew = self._cluster.crew(self._opener, make_clips, most)
        waiting: deque[Path] = deque()  # paths, for the errors of items that are given up

        def absolute() -> Iterator[Order]:
            for order in orders:
                waiting.append(order.path)
                yield replace(order, path=everywhere(order.path))

        for together in self._crew.run(absolute()):
            yield [_own(made, waiting.popleft()) for made in together]

    def films(self, paths: Iterable[Path], rate: float) -> Iterator[Iterator[FilmPart]]:
        """Yield the parts of each film, in order."""
        crew: Crew[Path, FilmResult] = self._cluster.crew(self._opener, partial(make_films, rate=rate), 1)
        waiting: deque[Path] = deque()

        def absolute() -> Iterator[Path]:
            for path in paths:
                waiting.append(path)
                yield everywhere(path)

        for together in crew.run(absolute()):
            for result in together:
                path = waiting.popleft()
                yield _parts(([], _crashed(path)) if result is None else result)


def make_clips(source: Source, orders: Iterable[Order]) -> Iterator[list[Made]]:
    """Compute the features of clips. Runs in an actor."""
    return source.clips(orders)


def make_films(source: Source, paths: Iterable[Path], rate: float) -> Iterator[list[FilmResult]]:
    """Compute the features of films. Runs in an actor."""
    for parts in source.films(paths, rate):
        taken: list[FilmPart] = []
        error = None
        try:
            taken += parts
        except InputError as stopped:
            error = stopped
        yield [(taken, error)]


def everywhere(path: Path) -> Path:
    """Return a path that does not depend on the working folder of an actor."""
    if address_of(path) is not None:
        return path
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`


def _own(made: Made | None, path: Path) -> Made:
    """Copy the result for a clip out of Ray's memory, which is read-only."""
    if made is None:
        return _crashed(path)
    if isinstance(made, InputError):
        return made
    return {stream: replace(features, values=features.values.copy()) for stream, features in made.items()}


def _parts(result: FilmResult) -> Iterator[FilmPart]:
    parts, error = result
    for part in parts:
        yield replace(part, sequences={s: values.copy() for s, values in part.sequences.items()})
    if error is not None:
        raise error


def _crashed(path: Path) -> InputError:
    return InputError(path, FailureCode.DECODER_CRASHED, "the processes that read it died, three times")
