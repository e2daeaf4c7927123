"""Label Studio's JSON: a list of tasks, each with a film and the results of one or more annotators.

    [{"data": {"video": "/data/upload/1/1a2b3c4d-day.mp4"},
      "annotations": [{"result": [{"type": "timelinelabels",
         "value": {"ranges": [{"start": 31, "end": 75}], "timelinelabels": ["wave"]}}]}]}]

There are two units. `ranges` of `TimelineLabels` are frames, counted from 1, the last one included; the frame
rate is in the file only if the task's data states it (`fps`, `frame_rate`, `framerate`), otherwise the film's
rate is used. `start` and `end` of `Labels` on audio or video are seconds. All ranges of a result are read.
The compact export (`JSON_MIN`) is supported. Predictions are read only from files without annotations: beside
annotations they are what a model suggested, and a task without an annotation is one that nobody has done yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vidlstm.data.annotations.spans import ANYWHERE, Annotations, LabelledSpan, SpanCode, SpanProblem
from vidlstm.data.annotations.values import fields_of, items_of, number_of, text_of
from vidlstm.files import suffix_kind
from vidlstm.records import Span

_RATES = ("fps", "frame_rate", "framerate", "frameRate")
_BY_HAND = ("annotations", "completions")
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""Label Studio's prefix for the name of an uploaded file."""


def is_label_studio(plain: Any) -> bool:
    """Tell whether a JSON value has this format."""
    return isinstance(plain, list) and bool(plain) and all(_film_of(fields_of(task)) for task in plain[:1])


def read_label_studio(file: Path, plain: Any) -> Annotations:
    """Read tasks; invalid results are reported as problems."""
    spans: list[LabelledSpan] = []
    problems: list[SpanProblem] = []
    films: dict[str, None] = {}
    by_hand = any(items_of(fields_of(task).get(key)) for task in items_of(plain) for key in _BY_HAND)
    for place, given in enumerate(items_of(plain), 1):
        task = fields_of(given)
        where = f"{file}, task {task.get('id', place)}"
        film = _film_of(task)
        if film is None:
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, "", "names no video"))
            continue
        results, others = _results(task, _BY_HAND if by_hand else ("predictions",))
        if results is None:
            message = f"{film} has no annotation in this task, which is not used"
            problems.append(SpanProblem(SpanCode.UNANNOTATED, where, film, message))
            continue
        films[film] = None
        if others:
            message = f"only the first annotation of {film} is read, not the {others} others"
            problems.append(SpanProblem(SpanCode.OTHER_ANNOTATOR, where, film, message))
        for number, result in enumerate(results, 1):
            source = f"{where}, result {number}"
            found = list(_spans(result, film, source, _rate_of(task, result)))
            spans += [s for s in found if s is not None]
            if None in found or (not found and _is_span(result)):
                message = "two numbers and a label are needed"
                problems.append(SpanProblem(SpanCode.UNREADABLE, source, film, message, may_cover=ANYWHERE))
    return Annotations(tuple(films), tuple(spans), tuple(problems), f"Label Studio JSON {file.name}")


def without_upload_prefix(name: PurePosixPath) -> str:
    """Return the file name that an uploaded film had before Label Studio renamed it."""
    return _UPLOAD.sub("", name.name) if "upload" in name.parts else name.name


def _film_of(task: dict[str, Any]) -> str | None:
    """Return the name of the first video in a task's data."""
    data = fields_of(task.get("data")) or task
    names = [*(text_of(value) for value in data.values()), text_of(task.get("file_upload"))]
    for name in names:
        # The path of a file on Label Studio's machine follows ?d=.
        shown = (name or "").split("?d=")[-1].split("?")[0]
        if suffix_kind(shown) == "video":
            return f"upload/{shown}" if shown == task.get("file_upload") else shown
    return None


def _results(task: dict[str, Any], keys: Sequence[str]) -> tuple[list[dict[str, Any]] | None, int]:
    """Return the results of the first annotation, if any, under some keys, and the number of others."""
    for key in keys:
        given = [a for a in map(fields_of, items_of(task.get(key))) if not a.get("was_cancelled")]
        if given:
            return [fields_of(r) for r in items_of(given[0].get("result"))], len(given) - 1
    if isinstance(task.get("data"), dict):
        return None, 0
    compact = [fields_of(v) for values in task.values() for v in items_of(values)]
    return [{"value": value} for value in compact if _is_span({"value": value})], 0


def _is_span(result: dict[str, Any]) -> bool:
    value = fields_of(result.get("value"))
    return "timelinelabels" in value or "ranges" in value or {"start", "end"} <= value.keys()


def _spans(
    result: dict[str, Any], film: str, source: str, rate: float | None
) -> Iterator[LabelledSpan | None]:
    """Yield the spans of a result; None for an invalid one."""
    value = fields_of(result.get("value"))
    ranges = items_of(value.get("ranges"))
    labels = [text_of(x) for x in items_of(value.get("timelinelabels")) or items_of(value.get("labels"))]
    if not _is_span(result):
        return
    for given in ranges or [value]:
        start, end = (number_of(fields_of(given).get(key)) for key in ("start", "end"))
        for label in labels or [None]:
            if label is None or start is None or end is None:
                yield None
            elif ranges:
                yield LabelledSpan(film, start - 1, end, label, source, in_frames=True, frame_rate=rate)
            else:
                yield LabelledSpan(film, start, end, label, source)


def _rate_of(task: dict[str, Any], result: dict[str, Any]) -> float | None:
    """Return the frame rate that a task states for its frame numbers; None if it states none."""
    data, value = fields_of(task.get("data")), fields_of(result.get("value"))
    rates = [number_of(data.get(key)) for key in _RATES]
    count, seconds = number_of(value.get("framesCount")), number_of(value.get("duration"))
    if count and seconds:
        rates.insert(0, count / seconds)
    return next((rate for rate in rates if rate is not None and rate > 0), None)


def write_label_studio(film: Path, spans: Sequence[Span], frame_rate: float) -> str:
    """Return one film's spans as a task with predictions, for import and correction."""
    results = []
    for number, span in enumerate(spans, 1):
        first = round(span.start * frame_rate) + 1
        last = max(first, round(span.end * frame_rate))
        value = {"ranges": [{"start": first, "end": last}], "timelinelabels": [span.label]}
        names = {"id": f"span{number}", "from_name": "timelineLabels", "to_name": "video"}
        results.append({**names, "type": "timelinelabels", "value": value, "score": round(span.score, 6)})
    mean = sum(s.score for s in spans) / len(spans) if spans else 0.0
    prediction = {"model_version": "vidlstm", "score": round(mean, 6), "result": results}
    task = {"data": {"video": film.as_posix(), "fps": round(frame_rate, 6)}, "predictions": [prediction]}
    return json.dumps([task], indent=1) + "\n"
