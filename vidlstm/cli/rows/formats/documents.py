"""Formats with one document per film: subtitles, and files of annotation programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vidlstm.data.annotations.activitynet import write_activitynet
from vidlstm.data.annotations.boris import boris_header, boris_rows
from vidlstm.data.annotations.elan import write_elan
from vidlstm.data.annotations.label_studio import write_label_studio
from vidlstm.records import FilmSpans
from vidlstm.report.text import printable
from vidlstm.stores import to_path

DocumentFormat = Literal["srt", "vtt", "boris", "eaf", "label-studio", "activitynet"]

SUFFIXES: dict[DocumentFormat, str] = {
    "srt": ".srt",
    "vtt": ".vtt",
    "boris": ".csv",
    "eaf": ".eaf",
    "label-studio": ".json",
    "activitynet": ".json",
}


def srt(film: FilmSpans) -> str:
    """Return SubRip subtitles."""
    blocks = [
        f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_line(s.label)} {s.score:.2f}\n"
        for number, s in enumerate(film.spans, 1)
    ]
    return "\n".join(blocks)


def vtt(film: FilmSpans) -> str:
    """Return WebVTT subtitles (W3C), with &, < and > escaped."""
    blocks = ["WEBVTT\n"]
    for span in film.spans:
        label = _line(span.label).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        times = f"{_clock(span.start, '.')} --> {_clock(span.end, '.')}"
        blocks.append(f"{times}\n{label} {span.score:.2f}\n")
    return "\n".join(blocks)


def _boris(film: FilmSpans) -> str:
    return boris_header() + boris_rows(to_path(film.path), film.spans, film.seconds, film.frame_rate)


_WRITERS: dict[DocumentFormat, Callable[[FilmSpans, Path | None], str]] = {
    "srt": lambda film, _: srt(film),
    "vtt": lambda film, _: vtt(film),
    "boris": lambda film, _: _boris(film),
    "eaf": lambda film, folder: write_elan(to_path(film.path), film.spans, folder),
    "label-studio": lambda film, _: write_label_studio(
        to_path(film.path), film.spans, film.frame_rate or 25.0
    ),
    "activitynet": lambda film, _: write_activitynet(to_path(film.path), film.spans),
}


def to_document(name: DocumentFormat, film: FilmSpans, folder: Path | None = None) -> str:
    """Return a film's document.

    Args:
        name: The format.
        film: The film and its spans.
        folder: Where the document will be; None: beside the film.
    """
    return _WRITERS[name](film, folder)


def _clock(seconds: float, mark: str) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _line(label: str) -> str:
    """Return a label on one line, without `-->`, which subtitle readers take for a time."""
    return re.sub("--+>", "->", printable(label))
