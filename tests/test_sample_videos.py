"""The committed sample clips, and the script that draws them."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidlstm.data.samples import find_samples

FOLDER = Path(__file__).parents[1] / "sample_videos"
sys.path.insert(0, str(FOLDER))  # a folder of clips with a script in it, not a package

import make  # noqa: E402

FILMS = FOLDER / "films"
CLIPS = sorted(path for path in FOLDER.glob("*/*.mp4") if path.parent != FILMS)
PAIRS = sorted(make.REVERSED.items())


def frames_in(path: Path) -> list[make.Image]:
    capture = cv2.VideoCapture(str(path))
    frames: list[make.Image] = []
    while True:
        found, frame = capture.read()
        if not found:
            capture.release()
            return frames
        frames.append(np.asarray(frame, dtype=np.uint8))


def test_there_are_enough_actions_performers_and_reversed_pairs() -> None:
    assert len(make.ACTIONS) >= 6
    assert make.PERFORMERS >= 12
    assert len(PAIRS) >= 2
    assert {name for pair in PAIRS for name in pair} <= set(make.ACTIONS)


def test_every_performer_does_every_action_once_and_there_are_no_other_files() -> None:
    performers = range(1, make.PERFORMERS + 1)
    wanted = {make.clip_path(FOLDER, p, action) for action in make.ACTIONS for p in performers}
    wanted |= {FILMS / name for name in ("day01.mp4", "day02.mp4", "spans.csv")}
    found = {path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert found == wanted | {FOLDER / "make.py"}


def test_the_films_are_a_separate_data_set_not_a_class() -> None:
    assert find_samples(FOLDER).classes == make.ACTIONS
    table = list(csv.DictReader((FILMS / "spans.csv").read_text().splitlines()))
    for number in range(1, make.FILMS + 1):
        spans = [row for row in table if row["path"] == f"day{number:02d}.mp4"]
        assert sorted(row["label"] for row in spans) == list(make.ACTIONS)
        times = [float(row[key]) for row in spans for key in ("start", "end")]
        idle = [times[0], *(b - a for a, b in zip(times[1:-1:2], times[2::2], strict=True))]
        assert min(idle) > 1  # a rest before and after each action


def test_the_script_draws_the_committed_films() -> None:
    frames, fps, spans = make.render_film(1)
    committed = frames_in(FILMS / "day01.mp4")
    assert len(frames) == len(committed)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(frames, committed, strict=True)) < 4
    moved = np.array([np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(frames)])
    times = (np.arange(len(moved)) + 1) / fps
    inside = np.any([(start < times) & (times < end) for start, end, _ in spans], axis=0)
    assert np.median(moved[inside]) > 2 * np.median(moved[~inside])  # a hand-held camera never rests


def test_file_names_give_the_performer() -> None:
    names = [re.match(r"^(person\d+)_", path.name) for path in CLIPS]
    assert len({name[1] for name in names if name}) == make.PERFORMERS
    assert None not in names


def test_the_folder_stays_below_3_mb() -> None:
    assert sum(path.stat().st_size for path in [*CLIPS, FOLDER / "make.py"]) < 3_000_000
    assert sum(path.stat().st_size for path in FILMS.iterdir()) < 1_000_000


def test_every_clip_opens_and_has_at_least_20_frames_that_move() -> None:
    lengths, sizes, rates = set(), set(), set()
    for path in CLIPS:
        frames = frames_in(path)
        assert len(frames) >= 20, path
        assert max(np.abs(frames[0].astype(int) - frame).max() for frame in frames) > 60, path
        capture = cv2.VideoCapture(str(path))
        rates.add(capture.get(cv2.CAP_PROP_FPS))
        capture.release()
        lengths.add(len(frames))
        sizes.add(frames[0].shape)
    assert min(len(lengths), len(sizes), len(rates)) >= 3


@pytest.mark.parametrize(("backward", "forward"), PAIRS)
def test_a_reversed_clip_shows_the_same_pictures_in_the_opposite_order(backward: str, forward: str) -> None:
    there, there_fps = make.render(3, forward)
    back, back_fps = make.render(3, backward)
    assert there_fps == back_fps
    np.testing.assert_array_equal(there, back[::-1])
    # and the order is visible: start and end of the movement differ
    assert np.abs(there[0].astype(int) - there[-1]).mean() > 2


@pytest.mark.parametrize(("backward", "forward"), PAIRS)
@pytest.mark.parametrize("performer", range(1, make.PERFORMERS + 1))
def test_committed_pairs_have_the_same_poses(performer: int, backward: str, forward: str) -> None:
    there = frames_in(make.clip_path(FOLDER, performer, forward))
    back = frames_in(make.clip_path(FOLDER, performer, backward))[::-1]
    assert len(there) == len(back)
    differences = [np.abs(a.astype(int) - b).mean() for a, b in zip(there, back, strict=True)]
    assert max(differences) < 4  # from compression only


def test_pauses_at_both_ends_are_alike_on_average() -> None:
    takes = [make.make_take(performer, "sit_down") for performer in range(1, 301)]
    before = [np.count_nonzero(take.progress == 0) / take.fps for take in takes]
    after = [np.count_nonzero(take.progress == 1) / take.fps for take in takes]
    assert abs(np.mean(before) - np.mean(after)) < 0.05
    means = [take.progress.mean() for take in takes]
    assert abs(np.mean(means) - 0.5) < 0.02


def test_writing_a_clip_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = make.write_clip(tmp_path / "a", 5, "pick_up")
    second = make.write_clip(tmp_path / "b", 5, "pick_up")
    assert first.read_bytes() == second.read_bytes()
    assert first.relative_to(tmp_path / "a") == Path("pick_up", "person05_pick_up_d1.mp4")


def test_the_script_draws_the_committed_clips() -> None:
    drawn, _ = make.render(8, "wave")
    committed = frames_in(make.clip_path(FOLDER, 8, "wave"))
    assert len(drawn) == len(committed)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(drawn, committed, strict=True)) < 4
