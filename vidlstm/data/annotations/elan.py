"""ELAN's `.eaf`: XML, one file per film, annotations on tiers between time slots.

The time-aligned annotations of all tiers are read. An annotation that refers to another one has no time and
is reported as a problem. The file is parsed as a stream of elements; a document type declaration, which no
`.eaf` has, is rejected, so no entity is expanded and no other file is opened.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from vidlstm.data.annotations.spans import ANYWHERE, Annotations, LabelledSpan, SpanCode, SpanProblem
from vidlstm.data.annotations.values import number_of, read_bytes
from vidlstm.errors import DataError
from vidlstm.files import real_path, suffix_kind
from vidlstm.records import Span
from vidlstm.stores import address_of

_UNITS = {"milliseconds": 1e-3, "pal-frames": 1 / 25, "ntsc-frames": 1001 / 30000}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Reader:
    """Collects the content of the elements."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.is_eaf = False
        self.unit = 1e-3
        self.media: list[tuple[str, float]] = []  # name and time offset of each
        self.slots: dict[str, float | None] = {}
        self.found: list[tuple[str, str, str, str]] = []  # tier, first and last slot, text
        self.num_dependent = 0
        self._tier = ""
        self._annotation: tuple[str, str] | None = None
        self._text: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "ANNOTATION_DOCUMENT":
            self.is_eaf = True
        elif name == "HEADER":
            units = attributes.get("TIME_UNITS", "milliseconds").lower()
            if units not in _UNITS:
                raise DataError(f"{self.file}: unknown time unit {units!r}")
            self.unit = _UNITS[units]
        elif name == "MEDIA_DESCRIPTOR":
            url = attributes.get("RELATIVE_MEDIA_URL") or attributes.get("MEDIA_URL", "")
            origin = number_of(attributes.get("TIME_ORIGIN")) or 0.0
            self.media.append((url.removeprefix("file://"), origin * 1e-3))
        elif name == "TIME_SLOT":
            value = number_of(attributes.get("TIME_VALUE"))
            self.slots[attributes.get("TIME_SLOT_ID", "")] = None if value is None else value * self.unit
        elif name == "TIER":
            self._tier = attributes.get("TIER_ID", "")
        elif name == "ALIGNABLE_ANNOTATION":
            self._annotation = attributes.get("TIME_SLOT_REF1", ""), attributes.get("TIME_SLOT_REF2", "")
        elif name == "REF_ANNOTATION":
            self.num_dependent += 1
        elif name == "ANNOTATION_VALUE" and self._annotation is not None:
            self._text = []

    def bounds(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return each slot's earliest and latest time; one without a time lies between its neighbours."""
        earliest, latest = {}, {}
        before, after = ANYWHERE
        for slot, time in self.slots.items():
            before = earliest[slot] = before if time is None else time
        for slot, time in reversed(self.slots.items()):
            after = latest[slot] = after if time is None else time
        return earliest, latest

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        if name == "ANNOTATION_VALUE" and self._text is not None and self._annotation is not None:
            self.found.append((self._tier, *self._annotation, "".join(self._text).strip()))
            self._text = self._annotation = None


def read_elan(file: Path) -> Annotations:
    """Read one `.eaf` file.

    Raises:
        DataError: The file cannot be read, is not an `.eaf`, or declares a document type.
    """
    reader = _Reader(file)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data

    def refuse(*_: object) -> NoReturn:
        raise DataError(f"{file}: declares a document type, which no .eaf file does, so it is not read")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(read_bytes(file), True)
    except (expat.ExpatError, ValueError) as error:
        raise DataError(f"{file}: not valid XML ({error})") from None
    if not reader.is_eaf:
        raise DataError(f"{file}: XML, but not an ELAN document")
    return _annotations(file, reader)


def _annotations(file: Path, reader: _Reader) -> Annotations:
    videos = [m for m in reader.media if suffix_kind(m[0]) == "video"] or reader.media
    film, origin = videos[0] if videos else (file.stem, 0.0)
    spans: list[LabelledSpan] = []
    problems: list[SpanProblem] = []
    earliest, latest = reader.bounds()
    for number, (tier, first, last, label) in enumerate(reader.found, 1):
        where = f"{file}, tier {tier}, annotation {number}"
        start, end = reader.slots.get(first), reader.slots.get(last)
        if not label or start is None or end is None:
            reason = "an empty label" if not label else "a time slot without a time"
            times = earliest.get(first, ANYWHERE[0]) + origin, latest.get(last, ANYWHERE[1]) + origin
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, film, f"has {reason}", may_cover=times))
            continue
        spans.append(LabelledSpan(film, start + origin, end + origin, label, where))
    if reader.num_dependent:
        message = f"{reader.num_dependent} annotations refer to others and have no time"
        problems.append(SpanProblem(SpanCode.UNREADABLE, str(file), film, message))
    return Annotations((film,), tuple(spans), tuple(problems), f"ELAN file {file.name}")


def write_elan(film: Path, spans: Sequence[Span], folder: Path | None = None) -> str:
    """Return one film's spans as a document, on one tier.

    Args:
        film: The film.
        spans: Its spans.
        folder: Where the document will be, for the film's relative path; None: beside the film.
    """
    times = [round(1000 * t) for span in spans for t in (span.start, span.end)]
    slots = "".join(
        f'        <TIME_SLOT TIME_SLOT_ID="ts{n}" TIME_VALUE="{t}"/>\n' for n, t in enumerate(times, 1)
    )
    annotations = "".join(
        f"        <ANNOTATION>\n"
        f'            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a{n}" '
        f'TIME_SLOT_REF1="ts{2 * n - 1}" TIME_SLOT_REF2="ts{2 * n}">\n'
        f"                <ANNOTATION_VALUE>{escape(_shown(span.label))}</ANNOTATION_VALUE>\n"
        f"            </ALIGNABLE_ANNOTATION>\n"
        f"        </ANNOTATION>\n"
        for n, span in enumerate(spans, 1)
    )
    url = quoteattr(_shown(address_of(film) or f"file://{film.absolute().as_posix()}"))
    media = f"MEDIA_URL={url} RELATIVE_MEDIA_URL={quoteattr(_shown(_relative(film, folder)))}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="vidlstm" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR {media} MIME_TYPE="video/mp4"/>
        <PROPERTY NAME="lastUsedAnnotationId">{len(spans)}</PROPERTY>
    </HEADER>
    <TIME_ORDER>
{slots}    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="vidlstm">
{annotations}    </TIER>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""


def _relative(film: Path, folder: Path | None) -> str:
    """Return the path from a folder to a film, with slashes; ELAN looks there first if a disk was moved."""
    if folder is not None and address_of(film) is None:
        film = film.absolute()
        with contextlib.suppress(ValueError):  # on different drives
            way = os.path.relpath(real_path(film.parent) / film.name, real_path(folder))
            way = Path(way).as_posix()
            return way if way.startswith("../") else f"./{way}"
    return f"./{film.name}"


def _shown(text: str) -> str:
    """Replace characters that are not allowed in XML."""
    return _NOT_XML.sub("\ufffd", text)
