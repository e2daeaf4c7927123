"""Records: users' scripts read their JSON form, so these tests fix its keys."""

from __future__ import annotations

import json

import pytest

from vidlstm.errors import FailureCode, InputError
from vidlstm.records import EpochReport, Failure, Prediction, Problem, Score, is_unknown

ROW_KEYS = [
    "schema", "path", "label", "unknown", "score", "novelty", "top", "frames", "seconds", "error", "notes",
]  # fmt: skip
TOP = (Score("wave", 0.93000049), Score("sit", 0.07))


def test_row_of_a_prediction() -> None:
    row = Prediction("clips/a.mp4", "wave", 0.93000049, TOP, 16, 6.20004).to_json()
    assert list(row) == ROW_KEYS
    assert row == {
        "schema": 1, "path": "clips/a.mp4", "label": "wave", "unknown": False, "score": 0.93, "novelty": 0.0,
        "top": [{"label": "wave", "score": 0.93}, {"label": "sit", "score": 0.07}],
        "frames": 16, "seconds": 6.2, "error": None, "notes": [],
    }  # fmt: skip


def test_an_unknown_keeps_its_score_and_a_picture_has_no_length() -> None:
    row = Prediction("a.jpg", None, 0.3, TOP, 5, None, novelty=0.98, unknown=True).to_json()
    assert (row["label"], row["score"], row["seconds"]) == (None, 0.3, None)
    assert (row["unknown"], row["novelty"]) == (True, 0.98)


@pytest.mark.parametrize(
    ("label", "novelty", "rate", "unknown"),
    [
        ("wave", 0.94, 0.05, False), ("wave", 0.96, 0.05, True), ("wave", 0.96, 0.01, False),
        ("wave", 1.0, 0.0, False), ("wave", 0.0, 1.0, False), ("wave", 0.01, 1.0, True),
        ("other", 0.0, 0.05, True), ("None", 0.0, 0.0, True), ("Background", 0.5, 0.05, True),
        ("unknown", 0.0, 0.05, True), ("another", 0.0, 0.05, False),
    ],
)  # fmt: skip
def test_unknown_means_novel_or_in_the_catch_all_class(
    label: str, novelty: float, rate: float, unknown: bool
) -> None:
    assert is_unknown(label, novelty, rate) is unknown


def test_a_truncated_clip_has_a_label_and_an_error() -> None:
    problem = Problem(FailureCode.TRUNCATED, "ends after frame 12")
    row = Prediction("a.mp4", "wave", 0.9, TOP, 12, 1.0, problem).to_json()
    assert row["error"] == {"code": "truncated", "message": "ends after frame 12"}
    assert row["label"] == "wave"


def test_row_of_a_failure_has_the_same_keys() -> None:
    error = InputError("clips/b.mp4", FailureCode.NO_FRAMES, "holds no frame")
    row = Failure("clips/b.mp4", Problem.of(error)).to_json()
    assert list(row) == ROW_KEYS
    assert row == {
        "schema": 1, "path": "clips/b.mp4", "label": None, "unknown": False, "score": None, "novelty": None,
        "top": [], "frames": 0,
        "seconds": None, "error": {"code": "no_frames", "message": "holds no frame"}, "notes": [],
    }  # fmt: skip


def test_every_row_is_plain_json() -> None:
    failure = Failure("a\udcff.mp4", Problem(FailureCode.NOT_FOUND, "gone"))
    epoch = EpochReport(1, 9, 0.7, None, None, 1e-3, 0.1, True)
    for record in (Prediction("a", "b", 1.0, TOP, 1, None), failure, epoch):
        assert json.loads(json.dumps(record.to_json())) == record.to_json()


def test_codes_are_a_closed_set_that_only_grows() -> None:
    assert {code.value for code in FailureCode} >= {
        "not_found",
        "permission",
        "not_a_file",
        "empty_file",
        "not_a_video",
        "not_a_picture",
        "wrong_kind",
        "no_frames",
        "truncated",
        "too_large",
        "timeout",
        "decoder_crashed",
        "read_error",
    }
