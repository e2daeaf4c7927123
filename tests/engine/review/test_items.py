"""Reading the clips to review: rows, reports of labels and runs, and files of other kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidlstm.engine.review.budget import choose
from vidlstm.engine.review.items import ReviewItem, ReviewList, read_review
from vidlstm.errors import DataError


def row(path: str, label: str | None, *scores: tuple[str, float], **more: object) -> str:
    top = [{"label": name, "score": score} for name, score in scores]
    plain = {"schema": 1, "path": path, "label": label, "score": scores[0][1] if scores else None, "top": top}
    return json.dumps({**plain, "error": None, **more}) + "\n"


def test_rows_of_predict(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        row("a.mp4", "wave", ("wave", 0.9), ("walk", 0.1))
        + row("b.mp4", None, ("walk", 0.4), ("wave", 0.3), unknown=True)
        + row("c.mp4", None, error={"code": "not_found", "message": "no such file"})
    )
    review = read_review(file)
    assert review.classes == ("walk", "wave")
    assert review.items == (
        ReviewItem("a.mp4", "", "wave", 0.9, (("wave", 0.9), ("walk", 0.1))),
        ReviewItem("b.mp4", "", "walk", 0.4, (("walk", 0.4), ("wave", 0.3)), unknown=True),
    )


def test_rows_of_spans_keep_their_times(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    idle = row("night.mp4", None, start=None, end=None)
    file.write_text(row("day.mp4", "wave", ("wave", 0.9), start=12.4, end=15.12) + idle)
    [item] = read_review(file).items
    assert (item.start, item.end, item.suggested) == (12.4, 15.12, "wave")


@pytest.mark.parametrize(
    "text",
    ["path,label,score,error\na.mp4,wave,0.9,\n", "path,start,end,label,score\nf.mp4,1.0,2.0,wave,0.9\n"],
)
def test_predicted_labels_are_never_taken_for_those_of_the_data(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=r"rows\.csv, line 2: .* give rows of predict .* \(`format=jsonl`\)"):
        read_review(tmp_path / "rows.csv")


def test_suspicious_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    found = [{"path": "x.png", "label": "cat", "suggested": "dog", "score": 0.97}]
    file.write_text(json.dumps({"schema": 1, "suspicious_labels": found}))
    [item] = read_review(file).items
    assert (item.path, item.label, item.suggested, item.score, item.kind) == (
        "x.png", "cat", "dog", 0.97, "picture",
    )  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2])
def test_json_may_be_on_several_lines(indent: int | None, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    names = ("x\u2028.png", "y\n.png")
    objects = [{"path": name, "label": "cat", "suggested": "dog"} for name in names]
    text = "\n\n".join(json.dumps(found, indent=indent, ensure_ascii=False) for found in objects)
    file.write_text(text, encoding="utf-8", newline="\r\n")
    assert tuple(item.path for item in read_review(file).items) == names
    file.write_text(text + "\n{", encoding="utf-8")
    with pytest.raises(DataError, match=rf"labels\.json, line {text.count(chr(10)) + 2}: is not JSON"):
        read_review(file)


def test_all_classes_of_the_data_are_offered(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    found = [{"path": "x.png", "label": "cat", "suggested": "dog", "score": 0.97}]
    file.write_text(json.dumps({"classes": {"cat": 3, "horse": 2, "dog": 1}, "suspicious_labels": found}))
    assert read_review(file).classes == ("cat", "dog", "horse")


def test_parts_of_films_keep_their_times(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(
        "path,group,split,label,predicted,score,score_a,score_b\n"
        '"day #t=1.mp4#t=2.50,4.00",g,val,a,b,0.6,0.4,0.6\n'
    )
    [item] = read_review(tmp_path).items
    assert (item.path, item.start, item.end) == ("day #t=1.mp4", 2.5, 4.0)


def test_mistakes_of_a_run_come_first_most_confident_first(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(
        "path,group,split,label,predicted,score,score_a,score_b\n"
        "1.mp4,g,val,a,a,0.9,0.9,0.1\n"
        "2.mp4,g,val,a,b,0.6,0.4,0.6\n"
        "3.mp4,g,val,b,a,0.8,0.8,0.2\n"
    )
    review = read_review(tmp_path)
    assert [item.path for item in review.items] == ["3.mp4", "2.mp4", "1.mp4"]
    assert review.items[0] == ReviewItem("3.mp4", "b", "a", 0.8, (("a", 0.8), ("b", 0.2)), subset="val")
    assert review.classes == ("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "not json\n",
        "[1, 2]\n",
        '{"path": 3}\n',
        '{"suspicious_labels": [{"label": "a"}]}\n',
        "[" * 100_000,
        'path,label\n"open',
        "path,name\na,b\n",
    ],
)
def test_other_inputs_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=r"odd\.txt"):
        read_review(file)


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"path": "a.mp4", "label": "x", "top": 5}\n', "line 1: top is not a list"),
        (f'{{"path": "a.mp4", "label": "x", "start": {HUGE}, "end": 2}}\n', "line 1: has a start or end"),
        ('{"path": "a.mp4", "label": "x", "start": 1, "end": "later"}\n', "line 1: has a start or end"),
        (r'{"path": "a\ud800.mp4", "label": "x"}' + "\n", "line 1: has no usable path"),
        (r'{"path": "a\u0000.mp4", "label": "x"}' + "\n", "line 1: has no usable path"),
        ("path,label,predicted,score\na.mp4,x,y,0.9\nb.mp4,x\n", "line 3: is not a row of a run's"),
        ("path,label,predicted,score\na.mp4,x,y,0.9,1\n", "line 2: is not a row of a run's"),
        ("path,label,predicted,score\na\0.mp4,x,y,0.9\n", "line 2: (has no usable path|.*NUL)"),
        (f"path,label,predicted,score\na.mp4#t=1,{HUGE},x,y,1\n", "line 2: is not a row of a run's"),
        (f'path,label,predicted,score\n"a.mp4#t=1,{HUGE}",x,y,1\n', "line 2: has a start or end"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=rf"odd\.txt, {said}"):
        read_review(file)


@pytest.mark.parametrize("score", ["NaN", '"1e999"', HUGE, "null", "[]"])
def test_invalid_scores_count_as_missing(score: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        f'{{"path": "a.mp4", "label": "x", "score": {score}, "top": [{{"label": "x", "score": {score}}}]}}\n'
    )
    [item] = read_review(file).items
    assert (item.score, item.top) == (0.0, (("x", 0.0),))


def test_a_path_that_is_too_long_is_relative_to_the_root(tmp_path: Path) -> None:
    assert ReviewItem("a" * 5000).find(tmp_path) == tmp_path / ("a" * 5000)


def test_a_file_may_be_named_by_its_address(tmp_path: Path) -> None:
    assert ReviewItem(f"file://{tmp_path}/a.mp4").find(Path("elsewhere")) == tmp_path / "a.mp4"


class TestBudget:
    @staticmethod
    def item(name: str, suggested: str, ahead: float, *, unknown: bool = False) -> ReviewItem:
        top = ((suggested, 0.5 + ahead / 2), ("other", 0.5 - ahead / 2))
        return ReviewItem(name, suggested=suggested, top=top, unknown=unknown)

    def test_takes_the_least_certain(self) -> None:
        items = [self.item(f"a{n}", "a", n / 10) for n in range(8)]
        items += [self.item(f"b{n}", "b", 0.15 + n / 10) for n in range(2)]
        chosen = choose(ReviewList(tuple(items), ("a", "b")), 4).items
        assert [i.path for i in chosen] == ["a0", "a1", "b0", "a2"]

    def test_takes_clips_unlike_the_training_data_first(self) -> None:
        items = (self.item("sure", "a", 0.9, unknown=True), self.item("doubtful", "a", 0.0))
        assert [i.path for i in choose(ReviewList(items, ("a",)), 1).items] == ["sure"]

    def test_takes_all_if_there_are_fewer(self) -> None:
        items = tuple(self.item(str(n), "a", n / 10) for n in range(3))
        assert len(choose(ReviewList(items, ("a",)), 50).items) == 3
