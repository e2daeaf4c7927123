"""Tasks for Label Studio, one per clip or span, with the suggestions as predictions; and its answers.

A task's data also has what is needed to apply the answer: the path, the times and the old label. Label Studio
exports it again. It serves the files itself, by their path below its document root.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from vidlstm.data.annotations.values import fields_of, items_of, number_of, read_json, text_of
from vidlstm.engine.review.decisions import Decision
from vidlstm.engine.review.items import ReviewItem, ReviewList
from vidlstm.errors import DataError

_CHOICE = "decision"
"""Name of the choice in the labelling interface."""


def document_root(review: ReviewList, root: Path) -> Path:
    """Return the folder that holds all files, for Label Studio's `LOCAL_FILES_DOCUMENT_ROOT`.

    Args:
        review: The clips.
        root: Folder for relative paths that do not exist otherwise.

    Raises:
        DataError: The files are on several drives.
    """
    folders = {item.find(root).absolute().parent for item in review.items}
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:
        raise DataError("the clips are on several drives, which Label Studio cannot serve together") from None


def to_tasks(review: ReviewList, root: Path) -> bytes:
    """Return the clips as a JSON list of tasks.

    Args:
        review: The clips.
        root: Folder for relative paths that do not exist otherwise.

    Raises:
        DataError: The files are on several drives.
    """
    served = document_root(review, root)
    return json.dumps([_task(item, root, served) for item in review.items], indent=1).encode()


def to_interface(review: ReviewList) -> bytes:
    """Return the labelling interface: the clip, and one choice among the classes."""
    kind = review.items[0].kind
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in review.classes)
    return (
        '<View>\n  <Header value="$title"/>\n'
        f'  <{_TAGS[kind]} name="clip" value="$file"/>\n'
        f'  <Choices name="{_CHOICE}" toName="clip" showInLine="true">\n{choices}  </Choices>\n</View>\n'
    ).encode("utf-8", "replace")


_TAGS = {"video": "Video", "picture": "Image"}


def _task(item: ReviewItem, root: Path, served: Path) -> dict[str, Any]:
    place = item.find(root).absolute().relative_to(served).as_posix()
    times = "" if item.span is None else f", {item.start:.2f} to {item.end:.2f} s"
    data = {
        "file": f"/data/local-files/?d={quote(os.fsencode(place))}",
        "title": item.path + times + (f", label: {item.label}" if item.label else ""),
        "path": item.path,
        "label": item.label,
        "subset": item.subset,
        "start": item.start,
        "end": item.end,
    }
    choice = {
        "from_name": _CHOICE,
        "to_name": "clip",
        "type": "choices",
        "value": {"choices": [item.suggested]},
    }
    prediction = {"model_version": "vidlstm", "score": round(item.score, 6), "result": [choice]}
    return {"data": data, "predictions": [prediction] if item.suggested else []}


def read_answers(file: Path) -> list[Decision]:
    """Read Label Studio's export as JSON or JSON-MIN. Tasks without an answer are left out.

    Raises:
        DataError: The file cannot be read, holds other tasks, or a task has several answers.
    """
    found = []
    for place, given in enumerate(items_of(read_json(file)), 1):
        task = fields_of(given)
        where = f"{file}, task {task.get('id', place)}"
        data = fields_of(task.get("data")) or task
        path = data.get("path")
        if not isinstance(path, str) or not path:  # not stripped, as spaces belong to a name
            raise DataError(
                f"{where}: not from `vidlstm review`; give spans that were corrected on a timeline to "
                "`vidlstm train` as they are"
            )
        names = set(_choices(task))
        if len(names) > 1:
            raise DataError(f"{where}: {path} has several labels, {', '.join(sorted(names))}; keep one")
        start, end = (number_of(data.get(key)) for key in ("start", "end"))
        found += [
            Decision(
                path=path,
                label=text_of(data.get("label")) or "",
                decision=name,
                start="" if start is None else str(start),
                end="" if end is None else str(end),
                subset=text_of(data.get("subset")) or "",
            )
            for name in names
        ]
    return found


def _choices(task: dict[str, Any]) -> Iterator[str]:
    """Yield the choices in all annotations of a task that were not cancelled."""
    compact = task.get(_CHOICE)  # of JSON-MIN
    names: Sequence[Any] = [compact, *items_of(fields_of(compact).get("choices"))]
    for annotation in map(fields_of, items_of(task.get("annotations"))):
        if not annotation.get("was_cancelled"):
            for result in map(fields_of, items_of(annotation.get("result"))):
                names = [*names, *items_of(fields_of(result.get("value")).get("choices"))]
    yield from filter(None, map(text_of, names))
