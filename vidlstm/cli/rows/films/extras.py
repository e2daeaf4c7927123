"""The files that `spans` writes beside its rows: scores, clips, copies of the films, a report."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.console import Console
from vidlstm.cli.rows.films.paths import FilmPaths, in_tree
from vidlstm.cli.rows.films.scores import open_scores, require_scores_file
from vidlstm.cli.rows.films.videos import FilmVideos
from vidlstm.cli.rows.inputs import STDIN
from vidlstm.cli.rows.sorting import folder_name
from vidlstm.errors import UsageError
from vidlstm.files import kind_of, real_path
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

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the videos, which no search from above them enters; absolute, without links."""
        return tuple(real_path(folder) for folder in (self.clips, self.overlay) if folder is not None)

    def require_not_searched(self, paths: Sequence[str], classes: Sequence[str]) -> None:
        """Refuse a folder if its videos would be read as films by a second run.

        Args:
            paths: The inputs.
            classes: The labels of clips.

        Raises:
            UsageError: A folder of videos is searched, or is above a searched one in which videos would be.
        """
        films = [name for name in paths if name != STDIN and not is_in_store(name)]
        searched = dict.fromkeys(name for name in films if _is_searched(to_path(name)))
        if self.clips is not None:
            made = [self.clips / folder_name(label) for label in classes]
            _require_outside("--clips", self.clips, made, searched)
        if self.overlay is not None:
            inside = [os.path.join(name, "film") if name in searched else name for name in films]  # noqa: PTH118
            made = [(self.overlay / in_tree(name)).parent for name in inside]
            _require_outside("--overlay", self.overlay, made, searched)

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


def _is_searched(path: Path) -> bool:
    """Tell whether an input is a folder of films; one of numbered frames is a film."""
    return os.path.isdir(path) and kind_of(path) is None  # noqa: PTH112 - Path raises on an invalid name


def _require_outside(flag: str, root: Path, made: Iterable[Path], searched: Iterable[str]) -> None:
    """Refuse folders of videos in a searched folder, unless all of `root` is, which is then skipped."""
    real = {real_path(folder) for folder in {root, *made}}
    around = real.union(*(folder.parents for folder in real))
    skipping = real_path(root).parents
    for name in searched:
        folder = real_path(to_path(name))
        if folder in around and folder not in skipping:
            raise UsageError(
                f"{flag} {root}: videos written there would be in {name}, and the next run would read them "
                f"as films; name a new folder, such as {Path(to_path(name)) / flag[2:]}"
            )
