"""Videos made from films: `spans --clips` and `--overlay`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.console import Console
from vidlstm.cli.rows.formats.documents import in_folder
from vidlstm.cli.rows.sorting import folder_name
from vidlstm.records import FilmSpans, Problem

if TYPE_CHECKING:
    from vidlstm.engine.prediction.film_files import FilmFiles
    from vidlstm.engine.prediction.films import LabelledFilm
    from vidlstm.media.people.drawing import FilmDrawing


@dataclass
class FilmVideos:
    """Cuts spans into clips, and draws spans into copies of films.

    A video that cannot be written is reported and counts as a failure. The film's rows are not affected.

    Args:
        console: Where failures are reported.
        files: Writes the videos.
        clips: Folder for clips; None: no clips.
        overlay: Folder for copies; None: no copies.
    """

    console: Console
    files: FilmFiles
    clips: Path | None
    overlay: Path | None
    failed: int = 0

    def take(self, film: LabelledFilm) -> None:
        """Make the videos of a film."""
        if isinstance(film.record, FilmSpans):
            self._make(film.record, film.people)

    def _make(self, film: FilmSpans, people: FilmDrawing | None) -> None:
        if self.clips is not None:
            stem = Path(film.path).stem
            targets = [
                self.clips / folder_name(s.label) / f"{stem}_{s.start:.2f}-{s.end:.2f}.mp4"
                for s in film.spans
            ]
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            self._report(film, "clip", self.files.write_clips(film, targets))
        if self.overlay is not None:
            target = in_folder(self.overlay, film.path, ".mp4")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._report(film, "overlay", self.files.write_overlay(film, target, people))

    def _report(self, film: FilmSpans, kind: str, problems: Sequence[Problem]) -> None:
        self.failed += len(problems)
        for problem in problems:
            self.console.warn(f"{film.path}: {kind} not written: {problem.message}")
