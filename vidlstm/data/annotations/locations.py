"""Find the films that annotations name.

Names in a table of spans are paths, and may lead anywhere. Annotation programs write paths and addresses of
their own machine, which are not followed: such a film is searched for by its file name in the folder of the
annotation file and below; of several files with that name, the one whose folders agree with most of the
name's last folders is used. Where names and files cannot be told apart, none is used: otherwise a film would
be labelled with the spans of another one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from vidlstm.data.annotations.label_studio import without_upload_prefix
from vidlstm.data.annotations.spans import Annotations
from vidlstm.data.layouts.folders import some
from vidlstm.files import suffix_kind


class Located(NamedTuple):
    """The files of films, by the names in the annotations.

    Args:
        paths: The films' files; a missing film has none.
        reasons: Why a film that may exist is not used.
    """

    paths: dict[str, Path]
    reasons: dict[str, str]


class _Found(NamedTuple):
    """A video, and the names of all folders that lead to it."""

    path: Path
    folders: tuple[str, ...]


class _Match(NamedTuple):
    """The files that fit a name best, and how well: a greater `fit` is better."""

    paths: Sequence[Path]
    fit: tuple[int, int]


def locate_films(annotations: Annotations, root: Path, *, trusted: bool) -> Located:
    """Find the file of each film.

    Args:
        annotations: The annotations.
        root: The folder of the annotation file.
        trusted: Names are paths relative to `root`, and may lead anywhere.
    """
    if trusted:
        return Located({n: root / n for n in annotations.films if os.path.lexists(root / n)}, {})
    below = _films_below(root)
    found = {name: _match(name, root, below) for name in annotations.films}
    matches = {name: match for name, match in found.items() if match is not None}
    reasons: dict[str, str] = {}
    names: dict[Path, list[str]] = defaultdict(list)
    for name, match in matches.items():
        if len(match.paths) > 1:
            fitting = some([path.relative_to(root).as_posix() for path in match.paths])
            reasons[name] = f"fits several films, {fitting}; give each film its own file name"
        else:
            names[match.paths[0]].append(name)
    for own in names.values():
        reasons |= _rivals({name: matches[name] for name in own})
    paths = {name: match.paths[0] for name, match in matches.items() if name not in reasons}
    return Located(paths, reasons)


def _films_below(root: Path) -> dict[str, list[_Found]]:
    """Return the videos in a folder and below, by file name with and without suffix."""
    found: dict[str, list[_Found]] = defaultdict(list)
    for folder, folders, names in os.walk(root):
        parts = Path(folder).absolute().parts
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if suffix_kind(name) == "video" and not name.startswith("."):
                film = _Found(Path(folder, name), parts)
                found[name].append(film)
                found[film.path.stem].append(film)
    return found


def _match(name: str, root: Path, below: Mapping[str, Sequence[_Found]]) -> _Match | None:
    matches: list[_Match] = []
    for spelled in dict.fromkeys((name, unquote(name))):
        relative = PurePosixPath(spelled.replace("\\", "/"))
        inside = not relative.is_absolute() and ".." not in relative.parts and ":" not in spelled
        if inside and os.path.isfile(root / relative):  # noqa: PTH113 - False if the name is too long
            return _Match((root / relative,), (0, len(relative.parts)))
        folders = relative.parent.parts
        for place, known in enumerate(_spellings(relative)):
            if films := below.get(known):
                agreeing = [_num_agreeing(folders, film.folders) for film in films]
                most = max(agreeing)
                best = [film.path for film, number in zip(films, agreeing, strict=True) if number == most]
                matches.append(_Match(best, (-place, most)))
    return max(matches, key=lambda match: match.fit, default=None)


def _spellings(path: PurePosixPath) -> Iterator[str]:
    """Yield the file names that may belong to a name, the likeliest first."""
    yield path.name
    if (uploaded := without_upload_prefix(path)) != path.name:
        yield uploaded
    if path.name.startswith("v_"):  # ActivityNet's prefix
        yield path.name.removeprefix("v_")
    else:
        yield f"v_{path.name}"


def _num_agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many of the last folders of two paths are the same."""
    number = 0
    while number < min(len(one), len(other)) and one[-1 - number] == other[-1 - number]:
        number += 1
    return number


def _rivals(matches: Mapping[str, _Match]) -> dict[str, str]:
    """Return the names of one file that another name fits as well or better, with the reason.

    Names of which one is the end of the other mean the same film, such as `day.mp4` and `/films/day.mp4`.
    """
    reasons: dict[str, str] = {}
    for name, match in matches.items():
        for other, rival in matches.items():
            if rival.fit >= match.fit and not (_ends_with(name, other) or _ends_with(other, name)):
                file = match.paths[0].name
                reasons[name] = f"fits {file}, but so does {other}; give each film its own file name"
                break
    return reasons


def _ends_with(name: str, end: str) -> bool:
    parts, last = (PurePosixPath(unquote(text).replace("\\", "/")).parts for text in (name, end))
    return len(last) <= len(parts) and parts[len(parts) - len(last) :] == last
