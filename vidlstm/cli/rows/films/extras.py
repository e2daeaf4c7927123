"""The files that `spans` writes beside its rows: scores, clips, copies of the films, a report."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.console import Console
from vidlstm.cli.rows.films.paths import FilmPaths
from vidlstm.cli.rows.films.scores import open_scores, require_scores_file
from vidlstm.cli.rows.films.videos import FilmVideos
from vidlstm.errors import UsageError
from vidlstm.files import real_path
from vidlstm.stores import is_in_store, to_path

if TYPE_CHECKING:
    from vidlstm.engine.prediction.film_report import FilmReport
    from vidlstm.engine.prediction.films import FilmScores, LabelledFilm


@dataclass
class OpenExtras:
    """The open files of a run.

    Args:
        report: File of the report.
        takers: Each is called with every film, before its rows are written.
        page: The report.
        videos: The clips and copies.
    """

    report: Path | None
    takers: list[Callable[[LabelledFilm], None]] = field(default_factory=list)
    page: FilmReport | None = None
    videos: FilmVideos | None = None

    def finish(self, console: Console) -> None:
        """Say where the clips and copies are, and write the report on all films so far."""
        if self.videos is not None:
            self.videos.say_where(console)
        if self.page is not None and self.report is not None:
            command = shlex.join(["vidlstm", *sys.argv[1:]])
            self.page.write(self.report, title="Spans of films", command=command)
            console.say(f"Report: {self.report}")

    @property
    def num_failed(self) -> int:
        """Number of clips and copies that could not be written."""
        return 0 if self.videos is None else self.videos.failed


@dataclass(frozen=True)
class Extras:
    """The files that are wanted, None for each that is not.

    Args:
        scores: CSV or Parquet file for the scores over time.
        clips: Folder for the spans as clips.
        overlay: Folder for copies of the films with their spans drawn in.
        report: HTML file.
    """

    scores: Path | None
    clips: Path | None
    overlay: Path | None
    report: Path | None

    @property
    def makes_videos(self) -> bool:
        """Whether clips or copies are written."""
        return self.clips is not None or self.overlay is not None

    def check(self, paths: Sequence[str], *, resume: bool) -> None:
        """Check early that the files can be written.

        Raises:
            UsageError: They cannot.
        """
        if self.scores is not None:
            require_scores_file(self.scores, resume=resume)
        for name in paths:
            if is_in_store(name) and self.makes_videos:
                raise UsageError(
                    f"{name}: --clips and --overlay need files of this machine; download it first"
                )

    def folders_other_than(self, paths: Sequence[str]) -> tuple[Path, ...]:
        """Return the folders of the videos that are not inputs: a second run must not read them as films."""
        given = {real_path(to_path(path)) for path in paths}
        made = (real_path(folder) for folder in (self.clips, self.overlay) if folder is not None)
        return tuple(folder for folder in made if folder not in given)

    @contextlib.contextmanager
    def open(
        self,
        console: Console,
        scored: FilmScores,
        paths: FilmPaths,
        *,
        timeout: float,
        resume: bool,
        is_done: Callable[[str], bool],
    ) -> Iterator[OpenExtras]:
        """Open the files.

        Args:
            console: Where failures are reported.
            scored: The classes of the scores.
            paths: Names of the clips and copies.
            timeout: Seconds for the thumbnails of a film.
            resume: The file of scores may already hold films.
            is_done: Tells whether a film's scores are complete.
        """
        from vidlstm.engine.extraction.processes.pool import DecodePool

        opened = OpenExtras(self.report)
        with contextlib.ExitStack() as stack:
            if self.scores is not None:
                note = open_scores(self.scores, scored.classes, resume=resume, is_done=is_done)
                opened.takers.append(stack.enter_context(note))
            # The packages of these modules are not needed for rows alone: exported models go without them.
            if self.report is not None:
                from vidlstm.engine.prediction.film_report import FilmReport

                pool = stack.enter_context(DecodePool(1, timeout))
                opened.page = FilmReport(pool, scored.classes, scored.idle)
                opened.takers.append(opened.page.add)
            if self.makes_videos:
                from vidlstm.engine.prediction.film_files import DAY, FilmFiles

                files = FilmFiles(stack.enter_context(DecodePool(1, DAY)), scored.classes)
                opened.videos = FilmVideos(console, files, self.clips, self.overlay, paths)
                opened.takers.append(opened.videos.take)
            yield opened
            if opened.videos is not None:
                opened.videos.tell_kept()
