"""ActivityNet's JSON: the annotations of a data set (`database`), and predictions (`results`).

    {"database": {"ID": {"duration": 82.7, "subset": "training",
                         "annotations": [{"segment": [6.2, 7.9], "label": "Surfing"}]}}}
    {"results":  {"ID": [{"segment": [6.2, 7.9], "label": "Surfing", "score": 0.9}]}}

Times are in seconds. A film is named by its file name without the suffix; some tools add the prefix `v_`.
The published files list the films of the test set without their annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidlstm.data.annotations.spans import (
    ANYWHERE,
    Annotations,
    LabelledSpan,
    Membership,
    SpanCode,
    SpanProblem,
    time_between,
)
from vidlstm.data.annotations.values import fields_of, items_of, number_of, text_of
from vidlstm.data.layouts.folders import SUBSETS, Subset, count
from vidlstm.records import Span


def is_activitynet(plain: Any) -> bool:
    """Tell whether a JSON value has this format."""
    return any(isinstance(fields_of(plain).get(key), dict) for key in ("database", "results"))


def read_activitynet(file: Path, plain: Any) -> Annotations:
    """Read annotations or predictions; invalid ones are reported as problems."""
    spans: list[LabelledSpan] = []
    problems: list[SpanProblem] = []
    memberships: list[Membership] = []
    films = list(_films(plain))
    if unannotated := _films_of_a_withheld_test_set(films):
        message = f"the test set ({count(len(unannotated), 'film')}) has no annotations and is not used"
        problems.append(SpanProblem(SpanCode.UNANNOTATED, str(file), "", message))
        films = [film for film in films if film[0] not in unannotated]
    for name, subset, segments in films:
        split = _split(subset)
        if split is not None:
            memberships.append(Membership(name, None, split))
        for place, entry in enumerate(segments, 1):
            where = f"{file}, {name} number {place}"
            times = [number_of(t) for t in items_of(fields_of(entry).get("segment"))]
            label = text_of(fields_of(entry).get("label"))
            if label is None or len(times) != 2 or times[0] is None or times[1] is None:
                message = "a segment of two numbers and a label are needed"
                covered = time_between(*times) if len(times) == 2 else ANYWHERE
                problems.append(SpanProblem(SpanCode.UNREADABLE, where, name, message, may_cover=covered))
                continue
            spans.append(LabelledSpan(name, times[0], times[1], label, where))
    names = tuple(dict.fromkeys(name for name, _, _ in films))
    layout = f"ActivityNet JSON {file.name}"
    return Annotations(names, tuple(spans), tuple(problems), layout, tuple(memberships))


def _films(plain: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    for name, entry in fields_of(fields_of(plain).get("database")).items():
        yield name, fields_of(entry).get("subset"), items_of(fields_of(entry).get("annotations"))
    for name, segments in fields_of(fields_of(plain).get("results")).items():
        yield name, None, items_of(segments)


def _split(subset: object) -> Subset | None:
    return SUBSETS.get((text_of(subset) or "").lower())


def _films_of_a_withheld_test_set(films: Sequence[tuple[str, Any, list[Any]]]) -> set[str]:
    """Return the names of the test set's films; none if at least one of them has annotations."""
    test = {name for name, subset, _ in films if _split(subset) == "test"}
    return set() if any(segments for name, _, segments in films if name in test) else test


def write_activitynet(film: Path, spans: Sequence[Span]) -> str:
    """Return one film's spans as predictions."""
    rows = [
        {"segment": [round(s.start, 4), round(s.end, 4)], "label": s.label, "score": round(s.score, 6)}
        for s in spans
    ]
    plain = {"version": "vidlstm", "results": {film.stem: rows}, "external_data": {}}
    return json.dumps(plain, indent=1) + "\n"
