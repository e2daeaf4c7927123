"""Read the clips to review, with suggested labels, from rows, a report of labels, or a run.

Three inputs are supported: rows of `predict` or `spans` as JSON lines, the JSON object of `check --labels`,
and a run folder with its `predictions.csv`. Their content is not trusted.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlstm.config import Kind
from vidlstm.data.annotations.values import fields_of, number_of
from vidlstm.engine.review.decisions import is_text
from vidlstm.errors import DataError
from vidlstm.files import suffix_kind
from vidlstm.records import read_part_name
from vidlstm.stores import to_path

PREDICTIONS = "predictions.csv"
_MAX_BYTES = 512 * 2**20
_WANTED = (
    "rows of predict or spans (`format=jsonl`), the output of `vidlstm check --labels --json`, "
    "or a run folder"
)
_VISIBLE = re.compile(r"\S")


@dataclass(frozen=True)
class ReviewItem:
    """One clip, or one span of a film.

    Args:
        path: Path as in the input.
        label: The current label; empty if none.
        suggested: The label that the model suggests; empty if none.
        score: Score of the suggested label, 0 to 1.
        top: The best classes and their scores, best first.
        start: Start of the span, in seconds; None for a whole clip.
        end: End of the span, in seconds.
        subset: Subset of the split; empty if unknown.
        unknown: The clip is unlike the training data.
    """

    path: str
    label: str = ""
    suggested: str = ""
    score: float = 0.0
    top: tuple[tuple[str, float], ...] = ()
    start: float | None = None
    end: float | None = None
    subset: str = ""
    unknown: bool = False

    @property
    def kind(self) -> Kind:
        """Video or picture, by the name."""
        return suffix_kind(self.path) or "video"

    @property
    def span(self) -> tuple[float, float] | None:
        """Start and end in seconds; None for a whole clip."""
        return None if self.start is None or self.end is None else (self.start, self.end)

    def find(self, root: Path) -> Path:
        """Return the path of the file; a relative one that does not exist is taken as relative to `root`."""
        path = to_path(self.path)
        return path if path.is_absolute() or os.path.exists(path) else root / path  # noqa: PTH110 - any name


@dataclass(frozen=True)
class ReviewList:
    """The clips to review, in order, and the classes to choose from."""

    items: tuple[ReviewItem, ...]
    classes: tuple[str, ...]


def read_review(source: Path) -> ReviewList:
    """Read the clips to review. For a run, mistakes come first, with the highest scores at the top.

    Args:
        source: A file, or a run folder.

    Raises:
        DataError: The source cannot be read, or has no clips to review.
    """
    classes: set[str] = set()
    if source.is_dir():
        items = list(_from_predictions(source / PREDICTIONS))
    else:
        text = _read_text(source)
        items = list(_from_table(source, text) if _is_table(text) else _from_json(source, text, classes))
    if not items:
        raise DataError(f"{source}: holds nothing to review; give {_WANTED}")
    names = {name for item in items for name in (item.label, item.suggested, *(n for n, _ in item.top))}
    return ReviewList(tuple(items), tuple(sorted((names | classes) - {""})))


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DataError(f"{file}: is larger than {_MAX_BYTES >> 20} MB; review it in parts")
        return file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); give {_WANTED}") from None


def _is_table(text: str) -> bool:
    return text.startswith("path,")


def _from_predictions(file: Path) -> Iterator[ReviewItem]:
    yield from _from_table(file, _read_text(file))


def _from_table(file: Path, text: str) -> Iterator[ReviewItem]:
    """Yield the clips of a `predictions.csv`: first mistakes, by descending score, then the others."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    items = []
    try:
        for row in reader:
            named = {"path", "label", "predicted"} <= row.keys()  # a label of `predict` is a suggestion
            if not named or None in row or None in row.values() or not row["path"]:
                raise DataError(
                    f"{file}, line {reader.line_num}: is not a row of a run's {PREDICTIONS}; give {_WANTED}"
                )
            items.append(_predicted(row, f"{file}, line {reader.line_num}"))
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: is not valid CSV ({error})") from None
    yield from sorted(items, key=lambda i: (i.label == i.suggested, -i.score))


def _predicted(row: Mapping[str, str], where: str) -> ReviewItem:
    prefix = "score_"
    scores = {k[len(prefix) :]: _number(v) for k, v in row.items() if k.startswith(prefix)}
    top = tuple(sorted(scores.items(), key=lambda pair: -pair[1]))
    path, times = read_part_name(_path(row["path"], where))
    start, end = times or (None, None)
    return ReviewItem(
        path=path,
        label=row["label"],
        suggested=row["predicted"],
        score=_number(row.get("score")),
        top=top[:9],
        start=_seconds(start, where),
        end=_seconds(end, where),
        subset=row.get("split", ""),
    )


def _from_json(file: Path, text: str, classes: set[str]) -> Iterator[ReviewItem]:
    """Yield the items of JSON rows, or of one object with `suspicious_labels`; add its `classes`."""
    for where, plain in _objects(file, text):
        if not isinstance(plain, dict):
            raise DataError(f"{where}: is not a JSON object; give {_WANTED}")
        listed = plain.get("suspicious_labels")
        if isinstance(listed, list) and isinstance(plain.get("classes"), dict):
            classes.update(plain["classes"])
        rows: Iterable[Any] = listed if isinstance(listed, list) else [plain]
        for row in rows:
            item = _item(row, where)
            if item.suggested or not (row.get("error") or _is_idle(row)):
                yield item


def _objects(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Yield the JSON values of a text, one per line or each on several lines, and where they start."""
    decoder, line, start, end = json.JSONDecoder(), 1, 0, 0
    while found := _VISIBLE.search(text, end):
        line += text.count("\n", start, found.start())
        start = found.start()
        where = f"{file}, line {line}"
        try:
            plain, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            raise DataError(f"{where}: is not JSON; give {_WANTED}") from None
        yield where, plain


def _item(row: Any, where: str) -> ReviewItem:
    row = fields_of(row)
    path, listed = _path(row.get("path"), where), row.get("top") or []
    if not isinstance(listed, list):
        raise DataError(f"{where}: top is not a list; give {_WANTED}")
    top = tuple(
        (entry["label"], _number(entry.get("score")))
        for entry in listed
        if isinstance(entry, dict) and isinstance(entry.get("label"), str)
    )
    suspicious = "suggested" in row
    label = _text(row.get("label")) if suspicious else ""
    suggested = _text(row.get("suggested") if suspicious else row.get("label"))
    if not suggested and top:
        suggested = top[0][0]
    return ReviewItem(
        path=path,
        label=label,
        suggested=suggested,
        score=_number(row.get("score")),
        top=top[:9],
        start=_seconds(row.get("start"), where),
        end=_seconds(row.get("end"), where),
        unknown=row.get("unknown") is True,
    )


def _is_idle(row: Mapping[str, Any]) -> bool:
    """Tell whether a row stands for a film without spans."""
    return "start" in row and row["start"] is None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _path(value: object, where: str) -> str:
    if not isinstance(value, str) or not value or not is_text(value):
        raise DataError(f"{where}: has no usable path; give {_WANTED}")
    return value


def _number(value: object) -> float:
    """Return a score. One that is not a finite number counts as missing."""
    return number_of(value) or 0.0


def _seconds(value: object, where: str) -> float | None:
    """Return a time. One that cannot be read would make a whole clip of a span."""
    seconds = number_of(value)
    if value is not None and seconds is None:
        raise DataError(f"{where}: has a start or end that is not a number of seconds")
    return seconds
