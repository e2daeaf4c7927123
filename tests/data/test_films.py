"""Films become samples: pieces of spans, background away from borders, one group per film."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidlstm.data.annotations.spans import ANYWHERE, Film, SpanCode
from vidlstm.data.films import BACKGROUND, FilmTruth
from vidlstm.data.samples import find_samples
from vidlstm.errors import DataError, FailureCode, InputError
from vidlstm.records import Span, Times


def probe(path: Path) -> Film:
    return Film(path, 60.0, 25.0)


def pieces(*spans: tuple[float, float, str], seconds: float = 30.0) -> list[tuple[float, float, str]]:
    truth = FilmTruth(Path("a.mp4"), seconds, tuple(Span(*s) for s in spans))
    return [(round(p.start, 2), round(p.end, 2), p.label) for p in truth.pieces("auto")]


def background(pieces: list[Times]) -> list[Times]:
    """Return the times of background, with those that touch joined."""
    joined: list[Times] = []
    for start, end in pieces:
        touches = bool(joined) and abs(joined[-1][1] - start) < 0.01
        joined = [*joined[:-1], (joined[-1][0], end)] if touches else [*joined, (start, end)]
    return [(round(start, 2), round(end, 2)) for start, end in joined]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 30, "a")], [(0, 10, "a"), (10, 20, "a"), (20, 30, "a")]),  # no piece is longer than 10 s
        ([(0, 30.0, "a")], [(0, 10, "a"), (10, 20, "a"), (20, 30, "a")]),
        (
            [(5, 10, "a"), (20, 30, "b")],  # half a second from the borders of spans
            [(0, 4.5, BACKGROUND), (5, 10, "a"), (10.5, 19.5, BACKGROUND), (20, 30, "b")],
        ),
        ([(0, 14, "a"), (15.5, 30, "b")], [(0, 7, "a"), (7, 14, "a"), (15.5, 22.75, "b"), (22.75, 30, "b")]),
        ([], [(0, 10, BACKGROUND), (10, 20, BACKGROUND), (20, 30, BACKGROUND)]),
    ],
)
def test_pieces(spans: list[tuple[float, float, str]], expected: list[tuple[float, float, str]]) -> None:
    assert pieces(*spans) == expected


@pytest.mark.parametrize(
    ("unclear", "expected"),
    [
        ((9, 16), [(0, 4.5), (16.5, 30)]),
        ((12, 12), [(0, 4.5), (8.5, 11.5), (12.5, 30)]),  # a point event
        ((6, 12), [(0, 4.5), (12.5, 30)]),  # overlaps the span
        ((25, 99), [(0, 4.5), (8.5, 24.5)]),
        ((99, 99), [(0, 4.5), (8.5, 30)]),
        (ANYWHERE, []),
    ],
)
def test_time_that_an_unused_annotation_may_cover_is_no_background(
    unclear: Times, expected: list[Times]
) -> None:
    truth = FilmTruth(Path("a.mp4"), 30, (Span(5, 8, "a"),), unclear=(unclear,))
    assert [p.label for p in truth.pieces("none")] == ["a"]
    assert background([(p.start, p.end) for p in truth.pieces("auto") if p.label == BACKGROUND]) == expected


@pytest.mark.parametrize(
    ("unclear", "expected"),
    [
        ([], []),
        ([(9, 16)], [(9, 10), (11, 16)]),
        ([(12, 12)], []),
        ([(6, 12)], [(8, 10), (11, 12)]),  # in a span it is known what happens
        ([(4, 20)], [(4, 5), (8, 10), (11, 20)]),
        ([(20, 28), (7, 12), (2, 9)], [(2, 5), (8, 9), (9, 10), (11, 12), (20, 28)]),
        ([(25, 99)], [(25, 30)]),
        ([(99, 100)], []),
        ([ANYWHERE], [(0, 30)]),  # the whole film
        ([(0, 30)], [(0, 30)]),
        ([(0, 14.98), (15, 31)], [(0, 30)]),
        ([(0.1, 30)], [(0.1, 5), (8, 10), (11, 30)]),
    ],
)
def test_times_in_which_nobody_knows_what_happens(unclear: list[Times], expected: list[Times]) -> None:
    spans = Span(5, 8, "a"), Span(10, 11, "b")
    truth = FilmTruth(Path("a.mp4"), 30, spans, unclear=tuple(unclear))
    assert list(truth.unknown(30.0)) == expected


def test_without_background_only_spans_are_samples() -> None:
    truth = FilmTruth(Path("a.mp4"), 30, (Span(5, 10, "a"),))
    assert [p.label for p in truth.pieces("none")] == ["a"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    file = tmp_path / "spans.csv"
    file.write_text(
        "path,start,end,label\na.mp4,10,15,walk\na.mp4,20,18,walk\nb.mp4,0,30,sit\nc.mp4,1,2,sit\n"
    )
    return file


def test_a_table_of_spans_under_another_name_is_named(table: Path) -> None:
    other = table.rename(table.with_name("mine.csv"))
    with pytest.raises(DataError, match=r"mine.csv: holds spans of films; .* or name it spans.csv"):
        find_samples(table.parent, probe=probe)
    assert find_samples(other, probe=probe).classes == ("background", "sit", "walk")


def test_a_labels_csv_with_times_is_a_table_of_spans(table: Path) -> None:
    table.rename(table.with_name("labels.csv"))
    dataset = find_samples(table.parent, probe=probe)
    assert dataset.layout == "table of spans labels.csv"
    assert [film.spans for film in dataset.films] == [(Span(10, 15, "walk"),), (Span(0, 30, "sit"),)]
    (table.parent / "labels.csv").write_text("path,label\na.mp4,walk\nb.mp4,sit\n")
    assert find_samples(table.parent, probe=probe).layout == "table labels.csv"


def test_hidden_files_are_not_read(tmp_path: Path) -> None:
    for name in ("walk/a.mp4", "sit/b.mp4", "._day.eaf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert find_samples(tmp_path, probe=probe).classes == ("sit", "walk")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/._spans.csv").write_bytes(b'"a')
    with pytest.raises(DataError, match="no video or picture found"):
        find_samples(tmp_path / "empty", probe=probe)


def test_a_data_set_of_films(table: Path) -> None:
    dataset = find_samples(table, probe=probe)
    assert dataset.classes == ("background", "sit", "walk")
    assert dataset.layout == "table of spans spans.csv"
    assert {s.group for s in dataset.samples if s.path.name == "a.mp4"} == {"a.mp4"}
    assert [s.name(dataset.root) for s in dataset.samples if s.label != BACKGROUND] == [
        "a.mp4#t=10.00,15.00",
        "b.mp4#t=0.00,10.00",
        "b.mp4#t=10.00,20.00",
        "b.mp4#t=20.00,30.00",
    ]
    assert [film.spans for film in dataset.films] == [(Span(10, 15, "walk"),), (Span(0, 30, "sit"),)]
    assert len(dataset.problems) == 2
    assert dataset.notes == (
        f"2 annotations not used, such as {table}, line 5: c.mp4: no such film (1 span); "
        "`vidlstm check` lists all",
        "no background and no span scores from 1 film that unusable annotations may cover from start to end: "
        "a.mp4",
    )
    assert dataset.group_rule == "Each film is its own group; films of equal content share one."
    assert find_samples(table.parent, probe=probe) == dataset


def test_films_with_one_file_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for day in ("mon", "tue"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "cam1.mp4").write_bytes(day.encode())
    file = tmp_path / "events.csv"
    header = "Media file name,Behavior,Start (s),Stop (s)\n"
    file.write_text(f"{header}/u/mon/cam1.mp4,walk,0,60\n/u/tue/cam1.mp4,sit,0,60\n/u/cam1.mp4,run,0,60\n")
    dataset = find_samples(file, probe=probe)
    assert {(s.path.parent.name, s.label) for s in dataset.samples} == {("mon", "walk"), ("tue", "sit")}
    assert dataset.notes == (
        f"1 annotation not used: {file}, line 4: /u/cam1.mp4: fits several films, mon/cam1.mp4, "
        "tue/cam1.mp4; give each film its own file name (1 span)",
    )
    file.write_text(f"{header}/u/cam1.mp4,walk,0,60\n")
    with pytest.raises(DataError, match=r"none of its films can be used; /u/cam1.mp4: fits several films"):
        find_samples(file, probe=probe)


def test_a_film_with_an_impossible_length_ends_with_its_last_span(table: Path) -> None:
    def claiming(path: Path) -> Film:
        return Film(path, 1e12, 25.0) if path.name == "a.mp4" else probe(path)

    table.write_text("path,start,end,label\na.mp4,10,15,walk\na.mp4,16,1e15,walk\nb.mp4,0,60,sit\n")
    dataset = find_samples(table, probe=claiming)
    assert [(film.path.name, film.seconds) for film in dataset.films] == [("a.mp4", 15), ("b.mp4", 60)]
    assert [str(problem) for problem in dataset.problems] == [
        f"{table.parent / 'a.mp4'}: a.mp4 states a length of 1,000,000,000,000 s, more than 30 days; "
        "it is used up to the end of its last span",
        f"{table}, line 3: 16.00 to 1000000000000000.00 s is not a time in a film of at most 30 days",
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("20,30,", [(0, 9.5), (15.5, 19.5), (30.5, 60)]),
        ("20,20,walk", [(0, 9.5), (15.5, 19.5), (20.5, 60)]),
        ("20,1x,walk", []),
        ("30,20,walk", []),
        ("20,nan,walk", []),
        ("3,5,7,2,walk", []),
    ],
)
def test_an_annotation_that_is_not_used_is_no_background(
    table: Path, row: str, expected: list[Times]
) -> None:
    table.write_text(f"path,start,end,label\na.mp4,10,15,walk\na.mp4,{row}\nb.mp4,0,60,sit\n")
    dataset = find_samples(table, probe=probe)
    assert background([s.times for s in dataset.samples if s.label == BACKGROUND and s.times]) == expected
    told = "span scores from 1 film that unusable annotations may cover from start to end: a.mp4"
    assert (f"no background and no {told}" in dataset.notes) == (not expected)
    assert (f"no {told}" in find_samples(table, probe=probe, background="none").notes) == (not expected)


def test_a_film_that_cannot_be_opened_is_not_missing(table: Path) -> None:
    def locked(path: Path) -> Film:
        if path.name == "a.mp4":
            raise InputError(path, FailureCode.PERMISSION, "permission denied")
        return probe(path)

    dataset = find_samples(table, probe=locked)
    assert [(p.code, str(p)) for p in dataset.problems] == [
        (SpanCode.UNUSABLE_FILE, f"{table}, line 2: a.mp4: permission denied (2 spans)"),
        (SpanCode.UNKNOWN_FILE, f"{table}, line 5: c.mp4: no such film (1 span)"),
    ]
    table.write_text("path,start,end,label\na.mp4,10,15,walk\n")
    with pytest.raises(DataError, match=r"none of its films can be used; a.mp4: permission denied"):
        find_samples(table, probe=locked)


def test_groups_by_a_column_and_by_a_regular_expression(table: Path) -> None:
    table.write_text("path,start,end,label,group\na.mp4,10,15,walk,g\nb.mp4,0,30,sit,g\n")
    assert {s.group for s in find_samples(table, probe=probe).samples} == {"g"}
    assert {s.group for s in find_samples(table, probe=probe, group_by="(.)\\.mp4").samples} == {"a", "b"}


@pytest.mark.parametrize("other", ["./a.mp4", "sub/../a.mp4", "link.mp4", "{folder}/a.mp4"])
def test_a_film_under_two_names_is_one_film(table: Path, other: str) -> None:
    (table.parent / "sub").mkdir()
    (table.parent / "link.mp4").symlink_to(table.with_name("a.mp4"))
    other = other.format(folder=table.parent)
    table.write_text(f"path,start,end,label\na.mp4,0,9,wave\n{other},10,19,sit\na.mp4,20,60,sit\n")
    dataset = find_samples(table, probe=probe)
    assert [film.spans for film in dataset.films] == [
        (Span(0, 9, "wave"), Span(10, 19, "sit"), Span(20, 60, "sit"))
    ]
    assert dataset.classes == ("sit", "wave")
    table.write_text(f"path,start,end,label,split\na.mp4,0,9,wave,train\n{other},10,19,sit,test\n")
    with pytest.raises(DataError, match=r"a.mp4: is in several subsets \(test and train\)"):
        find_samples(table, probe=probe)


def test_a_film_is_in_one_subset(table: Path) -> None:
    table.write_text("path,start,end,label,split\na.mp4,10,15,walk,train\na.mp4,20,25,sit,test\n")
    with pytest.raises(DataError, match=r"a.mp4: is in several subsets \(test and train\)"):
        find_samples(table, probe=probe)


def test_a_film_without_usable_spans_keeps_its_group_and_its_subset(table: Path) -> None:
    (table.parent / "c.mp4").write_bytes(b"c.mp4")
    table.write_text(
        "path,start,end,label,group,split\na.mp4,10,15,walk,p1,train\n"
        "b.mp4,0,30,,p2,val\nc.mp4,,,,p1,test\nc.mp4,,,,,\n"
    )
    dataset = find_samples(table, probe=probe)
    assert {(s.path.name, s.group, s.split) for s in dataset.samples} == {
        ("a.mp4", "p1", "train"),
        ("b.mp4", "p2", "val"),
        ("c.mp4", "p1", "test"),
    }


def test_a_film_of_activitynet_without_spans_keeps_its_subset(table: Path) -> None:
    walk = {"segment": [10, 15], "label": "walk"}
    database = {
        "a": {"subset": "training", "annotations": [walk]},
        "b": {"subset": "testing", "annotations": []},
        "c": {"subset": "testing", "annotations": [walk]},
    }
    (table.parent / "c.mp4").write_bytes(b"c.mp4")
    file = table.with_name("net.json")
    file.write_text(json.dumps({"database": database}))
    splits = {(s.path.name, s.split) for s in find_samples(file, probe=probe).samples}
    assert splits == {("a.mp4", "train"), ("b.mp4", "test"), ("c.mp4", "test")}


def test_a_test_set_of_activitynet_without_annotations_is_not_used(table: Path) -> None:
    walk = {"segment": [10, 15], "label": "walk"}
    database = {
        "a": {"subset": "training", "annotations": [walk]},
        "b": {"subset": "testing", "annotations": []},
    }
    file = table.with_name("net.json")
    file.write_text(json.dumps({"database": database}))
    dataset = find_samples(file, probe=probe)
    assert [film.path.name for film in dataset.films] == ["a.mp4"]
    assert dataset.notes == (
        f"1 annotation not used: {file}: the test set (1 film) has no annotations and is not used",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,start,end,label\nx.mp4,1,2,walk\n", r"none of its 1 films exists \(first: x.mp4\)"),
        ("path,start,end,label\n", "names no film"),
        (
            "path,start,end,label\na.mp4,1h,2h,walk\n",
            "none of its annotations can be used; .*line 2",
        ),
        (
            "path,start,end,label\na.mp4,3,5,7,2,walk\n",
            "none of its annotations can be used; .*line 2: has 6 values where the header has 4; put a value",
        ),
        ("path,start,end,label\na.mp4,,,\n", r'holds only one class \("background"\)'),
    ],
)
def test_tables_without_spans(table: Path, text: str, message: str) -> None:
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        find_samples(table, probe=probe)
