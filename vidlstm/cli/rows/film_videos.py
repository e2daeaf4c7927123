"""Videos made of films beside their rows: `spans --clips` and `--overlay`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.console import Console
from vidlstm.cli.rows.documents import in_folder
from vidlstm.cli.rows.sorting import folder_name
from vidlstm.records import FilmSpans, Problem

if TYPE_CHECKING:
    from vidlstm.engine.prediction.film_files import FilmFiles
    from vidlstm.engine.prediction.films import LabelledFilm


@dataclass
class FilmVideos:
    """Cuts spans into clips, and draws spans into copies of films.

    What cannot be written costs the film no row: its spans are right. It is said, and counts as a failure.

    Args:
        console: Says what could not be written.
        files: Writes the videos.
        clips: Folder for clips; None cuts none.
        overlay: Folder for copies; None makes none.
    """

    console: Console
    files: FilmFiles
    clips: Path | None
    overlay: Path | None
    failed: int = 0

    def take(self, film: LabelledFilm) -> None:
        """Make the videos of a film."""
        if isinstance(film.record, FilmSpans):
            self._make(film.record)

    def _make(self, film: FilmSpans) -> None:
        if self.clips is not None:
            stem = Path(film.path).stem
            targets = [
                self.clips / folder_name(s.label) / f"{stem}_{s.start:.2f}-{s.end:.2f}.mp4"
                for s in film.spans
            ]
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            self._tell(film, "clip", self.files.write_clips(film, targets))
        if self.overlay is not None:
            target = in_folder(self.overlay, film.path, ".mp4")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._tell(film, "overlay", self.files.write_overlay(film, target))

    def _tell(self, film: FilmSpans, what: str, problems: Sequence[Problem]) -> None:
        self.failed += len(problems)
        for problem in problems:
            self.console.warn(f"{film.path}: {what} not written: {problem.message}")
