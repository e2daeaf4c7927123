"""A film read as a stream: the frames of its grid, and constant memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media.conftest import number_of, write_joined, write_numbered
from vidlstm.errors import InputError
from vidlstm.media import films
from vidlstm.media.clips import Clip
from vidlstm.media.films import CHUNK, FilmSpec, read_film
from vidlstm.media.frame_pairs import PairSpec
from vidlstm.media.video.pyav.reader import PyAvVideo

PAIRS = PairSpec(1 / 15, 96)


def whole(parts: list[Clip]) -> tuple[list[int], list[float], list[tuple[int, int]]]:
    """Return the numbers of the square frames, the times of all moments and the numbers of all pairs."""
    frames = [number_of(f) for part in parts for f in part.frames]
    times = [float(t) for part in parts for t in part.times]
    pairs = [(number_of(a), number_of(b)) for part in parts if part.pairs is not None for a, b in part.pairs]
    return frames, times, pairs


@pytest.mark.parametrize(
    ("fps", "num_frames", "moments"),
    [  # 8 moments per second
        (25, 25, [0, 3, 6, 10, 13, 16, 19, 22]),  # at or after n / 8 s, up to a quarter of a frame early
        (8, 5, [0, 1, 2, 3, 4]),
        (4, 3, [0, 1, 1, 2, 2]),  # one frame serves two moments
        (16, 1, [0]),
    ],
)
def test_the_grid_takes_the_first_frame_at_or_after_each_moment(
    numbered: Callable[..., Path], fps: float, num_frames: int, moments: list[int]
) -> None:
    frames, times, pairs = whole(
        list(read_film(numbered(num_frames, fps=fps), FilmSpec(8, 96, PAIRS, every=1)))
    )
    assert frames == moments
    assert times == pytest.approx([n / fps for n in moments], abs=1e-3)
    assert [(m in pair) for m, pair in zip(moments, pairs, strict=True)] == [True] * len(moments)


def test_square_frames_of_every_second_moment_and_pairs_of_all(numbered: Callable[..., Path]) -> None:
    parts = list(read_film(numbered(100), FilmSpec(8, 96, PAIRS)))
    frames, times, pairs = whole(parts)
    assert len(times) == len(pairs) == 32
    assert frames == [round(t * 25) for t in times[::2]]
    assert pairs[:-1] == [(round(t * 25), round(t * 25) + 2) for t in times[:-1]]
    assert pairs[-1] == (97, 99)  # for 96.875: the last frames are read, too


def test_the_last_moment_is_paired_with_an_earlier_frame(numbered: Callable[..., Path]) -> None:
    _, times, pairs = whole(list(read_film(numbered(5, fps=8), FilmSpec(8, None, PAIRS))))
    assert pairs[-1] == (3, 4)
    assert len(times) == 5


def test_a_film_of_one_frame_is_paired_with_itself(numbered: Callable[..., Path]) -> None:
    (part,) = read_film(numbered(1), FilmSpec(8, 32, PAIRS))
    assert part.pair_seconds is not None
    assert part.pair_seconds.tolist() == [0.0]


def test_whole_pictures_of_every_moment_in_smaller_parts(numbered: Callable[..., Path]) -> None:
    parts = list(read_film(numbered(200), FilmSpec(8, None, PAIRS, picture_side=96)))
    assert [len(part.times) for part in parts] == [32, 32]
    for part in parts:
        assert part.pictures is not None
        assert part.pictures.shape[0] == 32
        assert max(part.pictures.shape[1:3]) == 96
        numbers = [number_of(picture) for picture in part.pictures]
        assert numbers == [round(t * 25) for t in part.times]


def test_whole_pictures_have_one_size_even_if_the_frames_do_not(tmp_path: Path) -> None:
    path = write_joined(tmp_path / "joined.ts", (64, 80), (64, 96))
    (part,) = read_film(path, FilmSpec(4, None, picture_side=640))
    assert part.pictures is not None
    assert part.pictures.shape == (16, 64, 80, 3)
    assert (np.diff(part.pictures.mean((1, 2, 3))) > 5).all()


def test_a_long_film_comes_in_parts_and_the_last_has_its_length(numbered: Callable[..., Path]) -> None:
    parts = list(read_film(numbered(600), FilmSpec(8, 32, PAIRS)))
    assert [len(part.times) for part in parts] == [CHUNK, CHUNK, CHUNK]
    assert parts[-1].info.num_frames == 600
    assert parts[-1].info.seconds == pytest.approx(24)
    assert parts[-1].info.problem is None
    assert np.diff(np.concatenate([part.times for part in parts])).min() > 0


@pytest.mark.parametrize("fourcc", ["FFV1", "mp4v"])
def test_every_reader_gives_the_same_moments(tmp_path: Path, fourcc: str) -> None:
    path = write_numbered(tmp_path / f"a.{'mkv' if fourcc == 'FFV1' else 'mp4'}", 300, fourcc)
    frames, times, _ = whole(list(read_film(path, FilmSpec(5, 96))))
    assert frames == [round(t * 25) for t in times[::2]]
    assert times == pytest.approx([n / 5 for n in range(60)], abs=1e-3)


def test_memory_does_not_grow_with_the_film(numbered: Callable[..., Path]) -> None:
    def held(num_frames: int) -> int:
        path = numbered(num_frames, f"{num_frames}.avi")
        tracemalloc.start()
        for part in read_film(path, FilmSpec(8, 64, PAIRS)):
            del part
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert held(2000) < 1.05 * held(1000)


def test_jumping_times_are_corrected(numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "_MAX_GAP", 0.5)
    with pytest.raises(InputError, match="its times jump by 1 s"):
        list(read_film(numbered(3, fps=1), FilmSpec(8, 32)))


def test_frames_after_the_last_known_time_are_read(
    numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    init = PyAvVideo.__init__

    def misled(video: PyAvVideo, *args: Any, **options: Any) -> None:
        init(video, *args, **options)
        assert video.times is not None
        video.times = video.times[:10]

    monkeypatch.setattr(PyAvVideo, "__init__", misled)
    frames, _, _ = whole(list(read_film(numbered(25), FilmSpec(8, 96, every=1))))
    assert frames == [0, 3, 6, 10, 13, 16, 19, 22]


def test_an_absurd_frame_rate_is_ignored(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "clip.avi", 3)
    content = bytearray(path.read_bytes())
    scale = content.index(b"strh") + 8 + 20
    content[scale : scale + 8] = (2**31 - 1).to_bytes(4, "little") + (1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="its times jump by"):
        list(read_film(path, FilmSpec(8, 32)))


def test_a_file_that_is_not_a_film_gives_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        next(read_film(tmp_path / "none.mp4", FilmSpec(8)))
