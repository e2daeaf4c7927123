"""Single frames of a film at given times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.media.conftest import number_of, numbered_frame, write_joined
from vidlstm.errors import InputError
from vidlstm.media.stills import stills


def test_first_frame_at_or_after_each_time_at_any_frame_rate(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w", options={"reserve_index_space": "10k"}) as made:
        video = made.add_stream("libx264", rate=25, options={"crf": "1", "g": "20"})
        video.width, video.height, video.pix_fmt = 96, 48, "yuv420p"
        for number in range(100):  # after one second, frames last twice as long
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = number + max(0, number - 25) + 10, Fraction(1, 25)
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
    found = [number_of(image) for image in stills(path, [0.0, 0.4, 1.0, 2.0, 6.9, 60.0])]
    assert found == [0, 10, 25, 38, 99]


def test_frames_of_joined_files_have_the_times_of_their_rows(tmp_path: Path) -> None:
    path = write_joined(tmp_path / "joined.ts", (64, 64), (64, 64))
    found = [float(image.mean()) for image in stills(path, [0.52, 2.52, 3.0])]
    assert found == pytest.approx([16 + 2 * n for n in (13, 63, 75)], abs=1.9)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(InputError):
        list(stills(path, [0.0]))
