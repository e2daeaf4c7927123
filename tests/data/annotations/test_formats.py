"""Annotation files: reading each format, reporting problems, and round trips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vidlstm.data.annotations import values
from vidlstm.data.annotations.activitynet import write_activitynet
from vidlstm.data.annotations.boris import boris_header, boris_rows
from vidlstm.data.annotations.elan import write_elan
from vidlstm.data.annotations.formats import annotation_files, read_annotations
from vidlstm.data.annotations.label_studio import write_label_studio
from vidlstm.data.annotations.locations import locate_films
from vidlstm.data.annotations.spans import (
    ANYWHERE,
    Annotations,
    Film,
    LabelledSpan,
    Membership,
    SpanCode,
    settle,
)
from vidlstm.data.annotations.values import seconds_of
from vidlstm.errors import DataError
from vidlstm.records import Span

RATE = 25.0


def settled(file: Path, seconds: float = 60.0, rate: float = RATE) -> list[tuple[str, float, float, str]]:
    """Read a file with its films in the same folder; return the spans, and check that there is no problem."""
    annotations = read_annotations([file])
    paths, _ = locate_films(annotations, file.parent, trusted=file.suffix == ".csv")
    films = {name: Film(path, seconds, rate) for name, path in paths.items()}
    spans, problems = settle(annotations, films)
    assert not problems
    return [(films[s.film].path.name, s.start, s.end, s.label) for s in spans]


def codes(file: Path, seconds: float = 60.0, rate: float = RATE) -> list[SpanCode]:
    annotations = read_annotations([file])
    films = {name: Film(Path(name), seconds, rate) for name in annotations.films}
    return [p.code for p in settle(annotations, films)[1]]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "day & night (1).mp4"
    path.touch()
    return path


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


# --------------------------------------------------------------------------- one file per format


def test_a_table_of_spans(tmp_path: Path, film: Path) -> None:
    text = f"path,start,end,label,score\n{film.name},0,4.25,walk,0.9\n{film.name},4.25,9,sit,0.8\n"
    file = write(tmp_path, "spans.csv", text)
    assert annotation_files(file) == (file,)
    assert annotation_files(tmp_path) == (file,)
    assert settled(file) == [(film.name, 0, 4.25, "walk"), (film.name, 4.25, 9, "sit")]


def test_a_film_without_spans_has_a_row(tmp_path: Path) -> None:
    file = write(tmp_path, "spans.csv", "path,start,end,label\na.mp4,,,\nb.mp4,1,2,walk\n")
    assert read_annotations([file]).films == ("a.mp4", "b.mp4")
    assert read_annotations([file]).problems == ()


def test_groups_and_subsets_of_a_table(tmp_path: Path) -> None:
    file = write(tmp_path, "s.csv", "path,start,end,label,group,split\na.mp4,1,2,walk,monday,test\n")
    annotations = read_annotations([file])
    (span,) = annotations.spans
    assert annotations.memberships == (Membership("a.mp4", "monday", "test"),)
    assert span.source == f"{file}, line 2"


def test_spaces_around_the_cells_of_a_table_mean_nothing(tmp_path: Path) -> None:
    rows = "a.mp4, 1 , 2 , walk , p1 , test \nb.mp4, , , , p1, \n"
    annotations = read_annotations(
        [write(tmp_path, "s.csv", f"path, start, end, label, group, split\n{rows}")]
    )
    assert [(s.film, s.start, s.end, s.label) for s in annotations.spans] == [("a.mp4", 1, 2, "walk")]
    assert annotations.memberships == (Membership("a.mp4", "p1", "test"), Membership("b.mp4", "p1", None))
    assert annotations.problems == ()


@pytest.mark.parametrize(
    ("columns", "row"),
    [  # BORIS 9, 8 and 7
        (
            "Source,FPS (frame/s),Subject,Behavior,Behavior type,Start (s),Stop (s),Media file name",
            "player #1:/old/a.mp4,25.0,No focal subject,walk,STATE,1.500,3.250,/old/a.mp4",
        ),
        ("Observation id,Source,Behavior,Start (s),Stop (s)", "o1,player #1:a.mp4,walk,1.5,3.25"),
        ("Observation id,Media file,FPS,Behavior,Start (s),Stop (s)", "o1,C:\\films\\a.mp4,25,walk,1.5,3.25"),
    ],
)
def test_boris_tables(tmp_path: Path, columns: str, row: str) -> None:
    (tmp_path / "a.mp4").touch()
    file = write(tmp_path, "events.tsv", f"{columns}\n{row}\n".replace(",", "\t"))
    assert annotation_files(file) == (file,)
    assert settled(file) == [("a.mp4", 1.5, 3.25, "walk")]


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/a.wav" MIME_TYPE="audio/x-wav"/>
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/a.mp4" MIME_TYPE="video/mp4"{more}/>
</HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1500"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="3250"/>
<TIME_SLOT TIME_SLOT_ID="ts3"/></TIME_ORDER>
<TIER TIER_ID="action">{annotations}</TIER></ANNOTATION_DOCUMENT>"""
ALIGNED = (
    '<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="{last}">'
    "<ANNOTATION_VALUE>{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
)


def test_elan(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    text = EAF.format(more="", annotations=ALIGNED.format(last="ts2", label="walk &amp; talk"))
    file = write(tmp_path, "a.eaf", text)
    assert annotation_files(tmp_path) == (file,)
    assert settled(file) == [("a.mp4", 1.5, 3.25, "walk & talk")]


def test_a_hidden_file_is_no_elan_file(tmp_path: Path) -> None:
    write(tmp_path, "._a.eaf", "\0\5\x16\7")
    assert annotation_files(tmp_path) == ()
    text = EAF.format(more="", annotations=ALIGNED.format(last="ts2", label="walk"))
    file = write(tmp_path, "a.eaf", text)
    assert annotation_files(tmp_path) == (file,)


def test_elan_media_that_start_after_the_timeline(tmp_path: Path) -> None:
    annotations = ALIGNED.format(last="ts2", label="walk")
    file = write(tmp_path, "a.eaf", EAF.format(more=' TIME_ORIGIN="2000"', annotations=annotations))
    assert read_annotations([file]).spans[0].start == 3.5


@pytest.mark.parametrize(("last", "label"), [("ts3", "walk"), ("ts9", "walk"), ("ts2", "")])
def test_invalid_elan_annotations(tmp_path: Path, last: str, label: str) -> None:
    file = write(tmp_path, "a.eaf", EAF.format(more="", annotations=ALIGNED.format(last=last, label=label)))
    assert codes(file) == [SpanCode.UNREADABLE]


def task(result: object, **data: object) -> str:
    video = {"video": "/data/upload/3/1a2b3c4d-a.mp4", **data}
    return json.dumps([{"id": 7, "data": video, "annotations": [{"result": result}]}])


@pytest.mark.parametrize(
    ("value", "times"),
    [
        ({"ranges": [{"start": 26, "end": 50}], "timelinelabels": ["walk"]}, [(1, 2)]),  # frames, from 1
        (
            {"ranges": [{"start": 1, "end": 25}, {"start": 51, "end": 75}], "timelinelabels": ["walk"]},
            [(0, 1), (2, 3)],
        ),
        ({"start": 1.5, "end": 3.25, "labels": ["walk"], "channel": 0}, [(1.5, 3.25)]),  # seconds
    ],
)
def test_label_studio(tmp_path: Path, value: object, times: list[tuple[float, float]]) -> None:
    (tmp_path / "a.mp4").touch()
    file = write(tmp_path, "export.json", task([{"type": "any", "value": value}]))
    assert annotation_files(file) == (file,)
    assert settled(file) == [("a.mp4", start, end, "walk") for start, end in times]


def test_label_studio_compact_export(tmp_path: Path) -> None:
    labels = [{"ranges": [{"start": 26, "end": 50}], "timelinelabels": ["walk"]}]
    (tmp_path / "a.mp4").touch()
    file = write(tmp_path, "min.json", json.dumps([{"video": "/data/local-files/?d=x/a.mp4", "tl": labels}]))
    assert settled(file) == [("a.mp4", 1, 2, "walk")]


def test_frames_of_another_rate_are_reported_and_taken_at_their_own(tmp_path: Path) -> None:
    value = {"ranges": [{"start": 25, "end": 48}], "timelinelabels": ["walk"]}
    file = write(tmp_path, "export.json", task([{"value": value}], fps=24))
    annotations = read_annotations([file])
    (span,), (problem,) = settle(annotations, {n: Film(Path(n), 60, 25.0) for n in annotations.films})
    assert (span.start, span.end) == (1, 2)
    assert problem.code is SpanCode.FRAME_RATE
    assert not problem.unused
    assert str(problem).endswith(
        "result 1: assumes 24 frames per second, but /data/upload/3/1a2b3c4d-a.mp4 has 25; converted with 24"
    )


def test_a_second_annotator_is_reported(tmp_path: Path) -> None:
    value = {"ranges": [{"start": 1, "end": 25}], "timelinelabels": ["walk"]}
    annotation = {"result": [{"value": value}]}
    tasks = [
        {
            "data": {"video": "a.mp4"},
            "annotations": [{**annotation, "was_cancelled": True}, annotation, annotation],
        }
    ]
    file = write(tmp_path, "export.json", json.dumps(tasks))
    assert len(read_annotations([file]).spans) == 1
    assert codes(file) == [SpanCode.OTHER_ANNOTATOR]


WALK = {"result": [{"value": {"ranges": [{"start": 1, "end": 25}], "timelinelabels": ["walk"]}}]}
SKIPPED = {**WALK, "was_cancelled": True}


@pytest.mark.parametrize(
    ("tasks", "films"),
    [
        ([{"annotations": [WALK]}, {"annotations": []}, {}], ["0.mp4"]),
        ([{"annotations": [WALK]}, {"annotations": [], "predictions": [WALK]}], ["0.mp4"]),
        ([{"annotations": [WALK]}, {"annotations": [SKIPPED], "predictions": [WALK]}], ["0.mp4"]),
        ([{"annotations": [SKIPPED], "predictions": [WALK]}], []),
        ([{"annotations": [{"result": []}]}], ["0.mp4"]),  # annotated: nothing happens in it
        ([{"predictions": [WALK]}, {"predictions": [{"result": []}]}], ["0.mp4", "1.mp4"]),
        ([{"annotations": [], "predictions": [WALK]}, {"annotations": []}], ["0.mp4"]),
    ],
)
def test_label_studio_tasks_that_nobody_has_done_are_not_used(
    tmp_path: Path, tasks: list[dict[str, object]], films: list[str]
) -> None:
    given = [{"data": {"video": f"{number}.mp4"}, **task} for number, task in enumerate(tasks)]
    file = write(tmp_path, "export.json", json.dumps(given))
    annotations = read_annotations([file])
    assert list(annotations.films) == films
    assert {span.film for span in annotations.spans} <= set(films)
    assert [str(p) for p in annotations.problems] == [
        f"{file}, task {number}: {number - 1}.mp4 has no annotation in this task, which is not used"
        for number in range(len(films) + 1, len(tasks) + 1)
    ]


def test_activitynet(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "v_abc.mp4").touch()
    entry = {
        "duration": 60,
        "subset": "validation",
        "annotations": [{"segment": [1.5, 3.25], "label": "walk"}],
    }
    file = write(tmp_path, "an.json", json.dumps({"version": "1.3", "database": {"abc": entry}}))
    assert settled(file) == [("v_abc.mp4", 1.5, 3.25, "walk")]
    assert read_annotations([file]).memberships == (Membership("abc", None, "val"),)


# -------------------------------------------------------------------------------------- problems


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,1,2,walk", []),
        ("a,2,1,walk", [SpanCode.ENDS_BEFORE_START]),
        ("a,1,1,walk", [SpanCode.NO_DURATION]),
        ("a,59,61,walk", [SpanCode.BEYOND_END]),
        ("a,70,80,walk", [SpanCode.BEYOND_END]),
        ("a,59,60.03,walk", []),  # less than a frame
        ("a,1,3,walk\na,2,4,sit", [SpanCode.OVERLAP]),
        ("a,2,4,sit\na,1,2,walk", []),  # out of order, but no overlap
        ("a,0,30,walk\na,1,2,sit\na,20,22,sit", [SpanCode.OVERLAP, SpanCode.OVERLAP]),
        ("a,x,2,walk", [SpanCode.UNREADABLE]),
        ("a,nan,2,walk", [SpanCode.UNREADABLE]),
        ("a,1,inf,walk", [SpanCode.UNREADABLE]),
        ("a,1,1e999,walk", [SpanCode.UNREADABLE]),
        ("a,-1,2,walk", [SpanCode.UNREADABLE]),
        ("a,1,2,", [SpanCode.UNREADABLE]),
        ("a,3,5,7,2,walk", [SpanCode.UNREADABLE]),  # decimal commas without quotes
        ("a,1,2,walk,,", []),
        ("a,1", [SpanCode.UNREADABLE]),
        (",1,2,walk", [SpanCode.UNREADABLE]),
    ],
)
def test_each_bad_row_is_reported_and_reading_continues(
    tmp_path: Path, rows: str, expected: list[SpanCode]
) -> None:
    file = write(tmp_path, "s.csv", f"path,start,end,label\n{rows}\nb,1,2,walk\n")
    assert codes(file) == expected
    assert read_annotations([file]).spans[-1].film == "b"


def test_a_span_beyond_the_end_is_cut_at_the_end_of_the_film() -> None:
    span = LabelledSpan("a", 50, 70, "walk", "s.csv, line 2")
    annotations = Annotations(("a",), (span,), (), "table")
    (used,), (problem,) = settle(annotations, {"a": Film(Path("a"), 60, 25)})
    assert (used.start, used.end) == (50, 60)
    assert (
        str(problem)
        == "s.csv, line 2: 50.00 to 70.00 s is beyond the end of a (60.00 s); cut to 50.00 to 60.00 s"
    )


@pytest.mark.parametrize("seconds", [None, 1e12, float("nan")])
def test_a_span_of_a_film_of_unknown_length_ends_within_30_days(seconds: float | None) -> None:
    spans = (LabelledSpan("a", 0, 30 * 86400, "sit", "line 2"), LabelledSpan("a", 0, 1e15, "walk", "line 3"))
    used, problems = settle(Annotations(("a",), spans, (), "table"), {"a": Film(Path("a"), seconds, 25)})
    assert [s.label for s in used] == ["sit"]
    assert (
        str(problems[-1])
        == "line 3: 0.00 to 1000000000000000.00 s is not a time in a film of at most 30 days"
    )


def test_a_span_that_starts_beyond_the_end_is_not_used() -> None:
    annotations = Annotations(("a",), (LabelledSpan("a", 60, 70, "walk", "line 2"),), (), "table")
    used, (problem,) = settle(annotations, {"a": Film(Path("a"), 60, 25)})
    assert (used, problem.unused) == ((), True)
    assert str(problem) == "line 2: 60.00 to 70.00 s is beyond the end of a (60.00 s); not used"


def test_an_overlap_says_which_span_counts() -> None:
    spans = (LabelledSpan("a", 1, 3, "walk", "line 2"), LabelledSpan("a", 2, 4, "sit", "line 3"))
    used, (problem,) = settle(Annotations(("a",), spans, (), "table"), {"a": Film(Path("a"), 60, 25)})
    assert (used, problem.unused) == (spans, False)
    assert str(problem) == (
        "line 3: sit 2.00 to 4.00 s overlaps walk 1.00 to 3.00 s; both are trained on, but where they "
        "overlap, only sit counts as the truth"
    )


def test_unknown_films_are_reported_once_each(tmp_path: Path) -> None:
    file = write(tmp_path, "s.csv", "path,start,end,label\na.mp4,1,2,walk\na.mp4,3,4,walk\n")
    annotations = read_annotations([file])
    assert locate_films(annotations, tmp_path, trusted=True) == ({}, {})
    spans, problems = settle(annotations, {})
    assert spans == ()
    assert [str(p) for p in problems] == [f"{file}, line 2: a.mp4: no such film (2 spans)"]


def test_point_events_of_boris_are_reported(tmp_path: Path) -> None:
    header = "Source,Behavior,Behavior type,Start (s),Stop (s)"
    rows = "player #1:a.mp4,blink,POINT,1.5,1.5\nplayer #1:a.mp4,blink,POINT,2.5,NA\n,walk,STATE,1,2"
    file = write(tmp_path, "e.csv", f"{header}\n{rows}\n")
    assert sorted(codes(file)) == [SpanCode.NO_DURATION, SpanCode.NO_DURATION, SpanCode.UNREADABLE]


def test_a_span_without_a_label_keeps_its_times(tmp_path: Path) -> None:
    files = {
        "s.csv": "path,start,end,label\na.mp4,1.5,3.25,\n",
        "b.csv": "Source,Behavior,Start (s),Stop (s)\nplayer #1:a.mp4,,1.5,3.25\n",
        "a.eaf": EAF.format(more="", annotations=ALIGNED.format(last="ts2", label="")),
        "an.json": json.dumps({"database": {"a": {"annotations": [{"segment": [1.5, 3.25]}]}}}),
    }
    for name, text in files.items():
        (problem,) = read_annotations([write(tmp_path, name, text)]).problems
        assert (problem.code, problem.may_cover) == (SpanCode.UNREADABLE, (1.5, 3.25)), name


def test_a_span_with_a_time_that_cannot_be_read_may_be_anywhere(tmp_path: Path) -> None:
    files = {
        "s.csv": "path,start,end,label\na.mp4,1.5,3h,walk\n",
        "b.csv": "Source,Behavior,Start (s),Stop (s)\nplayer #1:a.mp4,walk,1.5,NA\n",
        "an.json": json.dumps({"database": {"a": {"annotations": [{"segment": [1.5], "label": "walk"}]}}}),
        "ls.json": json.dumps([{"data": {"video": "a.mp4"}, "annotations": [
            {"result": [{"value": {"ranges": [{"start": 1}], "timelinelabels": ["walk"]}}]}]}]),
    }  # fmt: skip
    for name, text in files.items():
        (problem,) = read_annotations([write(tmp_path, name, text)]).problems
        assert (problem.code, problem.may_cover) == (SpanCode.UNREADABLE, ANYWHERE), name


def test_a_slot_of_elan_without_a_time_lies_between_its_neighbours(tmp_path: Path) -> None:
    slots = '<TIME_SLOT TIME_SLOT_ID="ts3"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="9000"/>'
    text = EAF.format(more="", annotations=ALIGNED.format(last="ts3", label="walk"))
    file = write(tmp_path, "a.eaf", text.replace('<TIME_SLOT TIME_SLOT_ID="ts3"/>', slots))
    assert [p.may_cover for p in read_annotations([file]).problems] == [(1.5, 9)]


# ------------------------------------------------------------------------------------- round trips

LABELS = ["walk", "sit down", 'a "b", <c> & d', "läuft", "-x"]
Writer = Callable[[Path, list[Span]], tuple[str, str]]
WRITERS: dict[str, Writer] = {
    "csv": lambda film, spans: (
        "spans.csv",
        "path,start,end,label,score\n"
        + "".join(
            f'"{film.name}",{s.start},{s.end},"{s.label.replace(chr(34), chr(34) * 2)}",1\n' for s in spans
        ),
    ),
    "boris": lambda film, spans: ("e.csv", boris_header() + boris_rows(film, spans, 60, RATE)),
    "eaf": lambda film, spans: ("f.eaf", write_elan(film, spans)),
    "label-studio": lambda film, spans: ("ls.json", write_label_studio(film, spans, RATE)),
    "activitynet": lambda film, spans: ("an.json", write_activitynet(film, spans)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_written_spans_are_read_back_to_half_a_frame(tmp_path: Path, film: Path, name: str) -> None:
    spans = [Span(3.017 * n, 3.017 * n + 1.9 + n / 7, label, 0.5) for n, label in enumerate(LABELS)]
    file = write(tmp_path, *WRITERS[name](film, spans))
    again = settled(file)
    assert [(n, label) for n, _, _, label in again] == [(film.name, s.label) for s in spans]
    for (_, start, end, _), span in zip(again, spans, strict=True):
        assert start == pytest.approx(span.start, abs=0.5 / RATE + 1e-9)
        assert end == pytest.approx(span.end, abs=0.5 / RATE + 1e-9)


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"csv"}))
def test_films_without_spans_are_written_and_read(tmp_path: Path, film: Path, name: str) -> None:
    file = write(tmp_path, *WRITERS[name](film, []))
    assert settled(file) == []


def test_labels_that_are_not_allowed_in_xml(tmp_path: Path, film: Path) -> None:
    file = write(tmp_path, "f.eaf", write_elan(film, [Span(0, 1, "a\x00\x1b\udc80b")]))
    assert settled(file) == [(film.name, 0, 1, "a\ufffd\ufffd\ufffdb")]


# ---------------------------------------------------------------------------------- hostile files


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[" * 100_000, "is nested too deeply for an annotation file"),
        ("a.json", '{"database": {"a": {"annotations": [NaN]}}}', "NaN is not a JSON number"),
        ("a.json", '{"database": ', "not valid JSON"),
        ("a.json", "1" * 5000, "not valid JSON"),
        ("a.json", '"x"', "neither Label Studio JSON (a list of tasks) nor ActivityNet JSON"),
        ("a.json", "[]", "neither Label Studio JSON"),
        ("a.json", "[1, 2]", "neither Label Studio JSON"),
        ("a.eaf", "", "not valid XML"),
        ("a.eaf", "<ANNOTATION_DOCUMENT>", "not valid XML"),
        ("a.eaf", "<html/>", "XML, but not an ELAN document"),
        ("a.eaf", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares a document type"),
        ("a.eaf", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "declares a document type"),
        (
            "a.eaf",
            '<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="days"/></ANNOTATION_DOCUMENT>',
            "unknown time unit 'days'",
        ),
        ("a.csv", 'path,start,end,label\n"a', "not valid CSV"),
        ("a.csv", "path,start,end\na,1,2", 'has no column "label"'),
        ("a.csv", "path,start,end,label,split\na,1,2,b,tset", "line 2: split is"),
        ("a.csv", "path,start,end,label,End\na,1,2,b,3", 'has 2 columns "end"'),
    ],
)
def test_a_hostile_file_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = write(tmp_path, name, text)
    with pytest.raises(DataError, match="^" + str(file)) as caught:
        read_annotations([file])
    assert message in str(caught.value)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_BYTES", 100)
    for name in ("a.json", "a.eaf"):
        with pytest.raises(DataError, match="has 101 bytes; an annotation file has at most 100"):
            read_annotations([write(tmp_path, name, " " * 101)])
    with pytest.raises(DataError, match="has 101 bytes"):
        annotation_files(write(tmp_path, "a.csv", " " * 101))


@pytest.mark.parametrize(
    "plain",
    [
        {
            "database": {
                "a": None,
                "b": [],
                "c": {"annotations": 3},
                "d": {"annotations": [None, 4, {"segment": "x"}]},
            }
        },
        {"results": {"a": [{"segment": [True, 2], "label": "x"}, {"segment": [1, 2, 3], "label": "x"}]}},
        [{"data": {"video": "a.mp4"}, "annotations": 5}, 3, {"data": [], "annotations": {}}],
        [
            {
                "data": {"video": "a.mp4"},
                "annotations": [{"result": [None, {"value": {"ranges": [3], "timelinelabels": [1]}}]}],
            }
        ],
    ],
)
def test_each_wrong_type_is_one_problem(tmp_path: Path, plain: object) -> None:
    read = read_annotations([write(tmp_path, "a.json", json.dumps(plain))])
    assert read.spans == ()
    assert {p.code for p in read.problems} <= {SpanCode.UNREADABLE, SpanCode.UNANNOTATED}


def test_a_film_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").touch()
    inside = tmp_path / "in"
    inside.mkdir()
    names = ["../secret.mp4", str(tmp_path / "secret.mp4"), "file://" + str(tmp_path / "secret.mp4")]
    database = {name: {"annotations": [{"segment": [0, 1], "label": "x"}]} for name in names}
    file = write(inside, "a.json", json.dumps({"database": database}))
    assert locate_films(read_annotations([file]), inside, trusted=False) == ({}, {})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("65.5", 65.5), ("65,5", 65.5), ("1:05.5", 65.5), ("0:01:05,5", 65.5), (" 3 ", 3.0),
        ("", None), ("1:75", None), ("1:-5", None), ("1:2:3:4", None), ("1,000.5", None), ("nan", None),
    ],
)  # fmt: skip
def test_times_in_a_table(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_an_eaf_names_the_film_relative_to_the_document(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        tmp_path: "./films/day 1.mp4",
        tmp_path / "films": "./day 1.mp4",
        tmp_path / "eaf" / "films": "../../films/day 1.mp4",
    }
    (tmp_path / "films").mkdir()
    film.rename(tmp_path / "films" / "day 1.mp4")
    monkeypatch.chdir(tmp_path)
    for named in Path("films/day 1.mp4"), tmp_path / "films" / "day 1.mp4":
        for folder, way in places.items():
            assert f'RELATIVE_MEDIA_URL="{way}"' in write_elan(named, [], folder)
    folder.mkdir(parents=True)
    file = write(folder, "day.eaf", write_elan(named, [Span(1, 2, "walk")], folder))
    assert read_annotations([file]).films == ("../../films/day 1.mp4",)
