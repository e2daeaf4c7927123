"""An archive for CVAT ("CVAT for images 1.1") with a picture of each clip and the suggestion as its tag.

CVAT tags pictures, not videos, so a clip becomes a strip of its frames. The name of a picture is the path of
the clip, in percent-encoding, because CVAT keeps nothing else. Suggestions and answers are both tags, so
every tag that comes back counts as a decision.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote_to_bytes
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from vidlstm.data.annotations.values import MAX_BYTES, number_of, read_bytes
from vidlstm.engine.extraction.thumbnails import contact_sheet
from vidlstm.engine.review.decisions import Decision
from vidlstm.engine.review.items import ReviewItem
from vidlstm.errors import DataError, InputError

_ANNOTATIONS = "annotations.xml"
_MAX_NAME = 250
"""Longest name of a picture, in bytes; file systems allow 255."""


def to_archive(classes: Iterable[str], items: Iterable[ReviewItem], root: Path) -> bytes:
    """Return the archive. Clips that cannot be read are left out.

    Args:
        classes: Classes to choose from.
        items: The clips.
        root: Folder for relative paths that do not exist otherwise.

    Raises:
        DataError: No clip can be read, or a path is too long for the name of a picture.
    """
    file, images = io.BytesIO(), list[str]()
    with zipfile.ZipFile(file, "w") as archive:  # uncompressed: JPEG files would not get smaller
        for item in items:
            try:
                picture, width, height = contact_sheet(item.find(root), item.kind, item.span)
            except (InputError, OSError):
                continue
            name = _name(item)
            archive.writestr(f"images/{name}", picture)
            tag = f'<tag label={quoteattr(item.suggested)} source="auto"/>' if item.suggested else ""
            facts = f'id="{len(images)}" name="{name}" width="{width}" height="{height}"'
            images.append(f"  <image {facts}>{tag}</image>\n")
        if not images:
            raise DataError("none of the clips can be read; give the clips' folder with `root`")
        labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in classes)
        content = (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
            f"  <meta><task><labels>{labels}</labels></task></meta>\n{''.join(images)}</annotations>\n"
        )
        archive.writestr(_ANNOTATIONS, content.encode("utf-8", "replace"))
    return file.getvalue()


def _name(item: ReviewItem) -> str:
    times = "" if item.span is None else f"#t={item.start},{item.end}"
    name = quote((item.path + times).encode("utf-8", "surrogateescape"), safe="") + ".jpg"
    if len(name) > _MAX_NAME:
        raise DataError(f"{item.path}: too long for CVAT; run the command in a folder nearer to the clips")
    return name


def read_answers(file: Path) -> list[Decision]:
    """Read an annotation file of CVAT, or the archive that holds it. Pictures without a tag are left out.

    Raises:
        DataError: The file cannot be read, is from elsewhere, or a picture has several tags.
    """
    tags: dict[str, list[str]] = {}
    current: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal current
        if name == "image":
            current = tags.setdefault(attributes.get("name", ""), [])
        elif name == "tag":
            current.append(attributes.get("label", ""))

    def refuse(*_: object) -> NoReturn:
        raise DataError(f"{file}: declares a document type, which no file of CVAT does, so it is not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.StartDoctypeDeclHandler = start, refuse
    try:
        parser.Parse(_annotations(file), True)
    except (expat.ExpatError, ValueError) as error:
        raise DataError(f"{file}: not valid XML ({error})") from None
    return [_decision(file, name, names) for name, names in tags.items() if names]


def _annotations(file: Path) -> bytes:
    if not zipfile.is_zipfile(file):
        return read_bytes(file)
    try:
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(_ANNOTATIONS)
            if member.file_size > MAX_BYTES:
                raise DataError(
                    f"{file}: its {_ANNOTATIONS} has {member.file_size:,} bytes, which is too many"
                )
            return archive.read(member)
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, OSError) as error:
        raise DataError(f"{file}: no archive of CVAT ({error})") from None


def _decision(file: Path, name: str, tags: list[str]) -> Decision:
    path = unquote_to_bytes(name.rpartition("/")[2].removesuffix(".jpg")).decode("utf-8", "surrogateescape")
    film, _, times = path.rpartition("#t=")
    begin, _, end = times.partition(",")
    if film and number_of(begin) is not None and number_of(end) is not None:
        path = film
    else:  # a name that merely looks like that of a span
        begin = end = ""
    if len(set(tags)) > 1:
        raise DataError(f"{file}: {path} has several labels, {', '.join(sorted(set(tags)))}; keep one")
    if not path or not tags[0]:
        raise DataError(f"{file}: picture {name!r} is not from `vidlstm review`")
    return Decision(path, "", tags[0], begin, end)
