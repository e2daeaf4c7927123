"""Clips of a run, or windows of its films, for measuring and comparing networks of lower precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from vidlstm.config import StreamName
from vidlstm.data.layouts.recognise import root_of
from vidlstm.data.split_table import SPLIT, read_split_rows
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.films.extractor import gather, probe_film
from vidlstm.engine.extraction.films.reading import RGB_EVERY, FilmPart
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.spans.windows import WindowGrid
from vidlstm.errors import DataError, InputError
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.checkpoint import Model
from vidlstm.records import read_part_name
from vidlstm.stores import address_of, path_in, to_path

_READ_PER_WINDOW = 4
"""Maximum number of windows of a film that are read for each one that is used."""


@dataclass(frozen=True)
class RunFiles:
    """Files of a run that still exist.

    Args:
        paths: Clips, or films.
        num_missing: Number of files that no longer exist.
        are_films: Whether the run was trained on spans of films.
    """

    paths: tuple[Path, ...]
    num_missing: int
    are_films: bool


def run_files(model: Model, run: Path, *subsets: str, in_stores: bool = False) -> RunFiles:
    """Return the clips or films of a run; none if the run does not list them.

    Args:
        model: The model of the run.
        run: The run folder.
        subsets: Only files of these subsets; none: all files.
        in_stores: Whether files in object stores count as existing. False for a run from somebody else,
            which must not reach the network.
    """
    root = root_of(to_path(str(model.training.get("data", ""))))
    try:
        rows = read_split_rows(run / SPLIT)
    except DataError:
        return RunFiles((), 0, are_films=False)
    are_films = bool(rows) and all(read_part_name(name)[1] for name in rows)
    names = [name for name, row in rows.items() if not subsets or row.subset in subsets]
    if are_films:
        names = list(dict.fromkeys(read_part_name(name)[0] for name in names))
    paths = [path_in(root, name) for name in names]
    existing = tuple(path for path in paths if path.exists() or (in_stores and address_of(path) is not None))
    return RunFiles(existing, len(names) - len(existing), are_films)


def read_clips(
    model: Model, files: RunFiles, number: int | None = None
) -> Iterator[tuple[Path, ClipFeatures | None]]:
    """Read clips, or windows of films, as pixels and descriptors.

    Args:
        model: The model of the run.
        files: The clips or films.
        number: Maximum number of clips, evenly spaced, or of windows, the same number from each film; None:
            all clips, or all windows, one after the other.

    Yields:
        The file, and the clip or window: None for a clip that cannot be read, or at the point beyond which a
        film cannot be read.
    """
    paths = files.paths if number is None else _spread(files.paths, number)
    request = ReadRequest.of(model.config, views=model.config.views, pose_networks=write_networks(model.pose))
    with DecodePool(1) as pool:
        source = LocalSource(request, None, pool)
        if files.are_films:
            yield from _windows(WindowGrid.of(model.config), request, source, paths, number)
            return
        for extracted in Extractor(request, source, None).extract(paths):
            yield extracted.path, extracted.features


def _spread(paths: Sequence[Path], number: int) -> Sequence[Path]:
    """Choose a number of files at equal distances."""
    places = np.linspace(0, len(paths) - 1, min(number, len(paths)))
    return [paths[place] for place in places.astype(int)]


def _windows(
    grid: WindowGrid, request: ReadRequest, source: LocalSource, paths: Sequence[Path], number: int | None
) -> Iterator[tuple[Path, ClipFeatures | None]]:
    """Yield windows of the shortest length, and their films.

    A film is read from its start. So windows of a long film are from its first part: from
    `_READ_PER_WINDOW` times their length.
    """
    length, taken = grid.lengths[0], 0
    most = None if number is None else _READ_PER_WINDOW * length * _share(number, max(1, len(paths)))
    for place, (path, parts) in enumerate(zip(paths, source.films(paths, grid.rate, most), strict=True)):
        wanted, distance = None, 1
        if number is not None and most is not None:
            wanted = _share(number - taken, len(paths) - place)
            moments = 0
            with contextlib.suppress(InputError):  # raised again when the film is read
                moments = int(min(most, (probe_film(path).seconds or 0) * grid.rate))
            distance = max(1, moments // length // max(1, wanted))
        try:
            for clip in islice(_held(parts, length, distance, grid.rate, request), wanted):
                taken += 1
                yield path, clip
            for _ in parts:  # the next film comes after the last part
                pass
        except InputError:
            yield path, None


def _held(
    parts: Iterable[FilmPart], length: int, distance: int, rate: float, request: ReadRequest
) -> Iterator[ClipFeatures]:
    """Yield one of every `distance` windows of a film, from the middle of them; hold no more than needed."""
    held: dict[StreamName, Values] = {}
    begin, end = 0, 0  # of what is held, in moments
    first = distance // 2 * length
    for part in parts:
        end += part.num_moments
        for stream, values in part.sequences.items():
            held[stream] = np.concatenate([held[stream], values], axis=1) if stream in held else values
        while first + length <= end:
            film = ClipFeatures({str(s): v[:, None] for s, v in held.items()}, {})
            yield gather(film, first - begin, first - begin + length, rate, request)
            first += distance * length
        unused = (min(first, end) - begin) // RGB_EVERY * RGB_EVERY
        held = {s: v[:, unused // (RGB_EVERY if s == "rgb" else 1) :] for s, v in held.items()}
        begin += unused


def _share(number: int, among: int) -> int:
    """Return a number divided among some, rounded up."""
    return -(-number // among)
