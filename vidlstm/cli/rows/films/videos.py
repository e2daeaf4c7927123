"""Videos made from films: `spans --clips` and `--overlay`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.console import Console
from vidlstm.cli.rows.films.paths import FilmPaths, with_ending
from vidlstm.cli.rows.sorting import folder_name
from vidlstm.data.layouts.folders import count
from vidlstm.records import Failure, FilmSpans, Problem
from vidlstm.stores import is_in_store

if TYPE_CHECKING:
    from vidlstm.engine.prediction.film_files import FilmFiles
    from vidlstm.engine.prediction.films import LabelledFilm
    from vidlstm.media.people.drawing import FilmDrawing


@dataclass
class FilmVideos:
    """Cuts spans into clips, and draws spans into copies of films.

    A video that cannot be written is reported and counts as a failure. The film's rows are not affected.
    A file that exists is kept: it may be another film's, or an input that is yet to be named. Videos are
    renamed into place whole, so it is not the rest of a run that was stopped.

    Args:
        console: Where failures are reported.
        files: Writes the videos.
        clips: Folder for clips; None: no clips.
        overlay: Folder for copies; None: no copies.
        paths: Names of the videos.
    """

    console: Console
    files: FilmFiles
    clips: Path | None
    overlay: Path | None
    paths: FilmPaths
    failed: int = 0
    num_clips: int = 0
    num_copies: int = 0
    _kept: list[Path] = field(default_factory=list)
    _made: set[Path] = field(default_factory=set)

    def take(self, film: LabelledFilm) -> None:
        """Make the videos of a film."""
        if isinstance(film.record, Failure):
            return
        if is_in_store(film.record.path):
            kind = "clip" if self.overlay is None else "overlay"
            self._fail(film.record, kind, "videos are made from files of this machine only")
            return
        self._make(film.record, film.people)

    def tell_kept(self) -> None:
        """Report the files that existed before."""
        if self._kept:
            self.console.warn(
                f"{count(len(self._kept), 'existing file')} kept, such as {self._kept[0]}; "
                "name another folder for other films or another model"
            )

    def say_where(self, console: Console) -> None:
        """Say where the videos are, and how many were written."""
        if self.clips is not None:
            console.say(f"Clips: {self.num_clips} in {self.clips}")
        if self.overlay is not None:
            console.say(f"Copies: {self.num_copies} in {self.overlay}")

    def _make(self, film: FilmSpans, people: FilmDrawing | None) -> None:
        if self.clips is not None:
            stem = self.paths.stem(film.path)
            clips = [
                (s, self.clips / folder_name(s.label) / f"{stem}_{s.start:.2f}-{s.end:.2f}.mp4")
                for s in film.spans
            ]
            ready = [(span, target) for span, target in clips if self._prepare(film, "clip", target)]
            self._report(film, "clip", self.files.write_clips(film, ready))
            self.num_clips += sum(os.path.isfile(target) for _, target in ready)  # noqa: PTH113
        if self.overlay is not None:
            target = with_ending(self.overlay / self.paths.in_tree(film.path), ".mp4")
            if self._prepare(film, "overlay", target):
                problems = self.files.write_overlay(film, target, people)
                self.num_copies += not problems
                self._report(film, "overlay", problems)

    def _prepare(self, film: FilmSpans, kind: str, target: Path) -> bool:
        """Create the folder of a video; return False if the video must not be written."""
        if self.paths.is_input(target):
            self._fail(film, kind, f"{target} may be an input, and is not replaced; name another folder")
            return False
        if target in self._made:  # the same film was given twice
            return False
        if os.path.isfile(target):  # noqa: PTH113 - Path raises on a name that is too long
            self._kept.append(target)
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._fail(film, kind, f"{error.filename}: {error.strerror}")
            return False
        self._made.add(target)
        return True

    def _report(self, film: FilmSpans, kind: str, problems: Sequence[Problem]) -> None:
        for problem in problems:
            self._fail(film, kind, problem.message)

    def _fail(self, film: FilmSpans, kind: str, why: str) -> None:
        self.failed += 1
        self.console.warn(f"{film.path}: {kind} not written: {why}")
