"""Which pictures in a folder are the frames of a clip, and which are ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidlstm.config import Sampling
from vidlstm.errors import InputError
from vidlstm.files import PICTURE_SUFFIXES, FrameSeries, frame_series
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.image import load_picture


def plant(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("names", "frames", "passed_over"),
    [
        (("f10.jpg", "f9.jpg", "f1.jpg"), ("f1.jpg", "f9.jpg", "f10.jpg"), ()),
        (("img_1.jpg", "img_2.jpg", "._img_1.jpg", "._img_2.jpg"), ("img_1.jpg", "img_2.jpg"), ()),
        (
            ("img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg", "flow_y_2.jpg"),
            ("img_1.jpg", "img_2.jpg"),
            ("flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg", "flow_y_2.jpg"),
        ),
        (("img_1.jpg", "img_2.jpg", "img_2 (1).jpg"), ("img_1.jpg", "img_2.jpg"), ("img_2 (1).jpg",)),
        (
            ("1.png", "2.png", "2 - Copy.png", "1 copy.png"),
            ("1.png", "2.png"),
            ("1 copy.png", "2 - Copy.png"),
        ),
        (
            ("f1.jpg", "f1.png", "f2.jpg", "f2.png", "f3.jpg"),
            ("f1.jpg", "f2.jpg", "f3.jpg"),
            ("f1.png", "f2.png"),
        ),
        (("1.jpg", "2.jpg", "fps.txt", "Thumbs.db"), ("1.jpg", "2.jpg"), ()),
    ],
)
def test_frames_and_other_pictures_beside_them(
    tmp_path: Path, names: tuple[str, ...], frames: tuple[str, ...], passed_over: tuple[str, ...]
) -> None:
    assert frame_series(plant(tmp_path, *names)) == FrameSeries(frames, passed_over)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("1.jpg",),
        ("cat.jpg", "dog.jpg"),
        ("cat_1.jpg", "cat_2.jpg", "dog_1.jpg"),
        ("cat_1.jpg", "cat_2.jpg", "cover.jpg"),
        ("flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg"),
        ("1.jpg", "2.jpg", "film.mp4"),
    ],
)
def test_folders_that_are_not_clips(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert frame_series(plant(tmp_path, *names)) is None


def test_skipped_files_are_reported(tmp_path: Path) -> None:
    for name in ("img_1.png", "img_2.png", "flow_x_1.png", "img_2 (1).png"):
        Image.new("RGB", (8, 8), (int(name[-5]), 0, 0) if name[-5].isdigit() else 0).save(tmp_path / name)
    clip = read_clip(tmp_path, ClipSpec(Sampling(), size=8))
    assert clip.info.num_frames == 2
    assert clip.info.problem is None
    assert clip.info.notes == ("2 pictures that are not frames were skipped (flow_x_1.png, img_2 (1).png)",)


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
def test_pictures_that_are_found_can_be_read(tmp_path: Path, suffix: str) -> None:
    names = {".pbm": "PPM", ".pgm": "PPM", ".ppm": "PPM", ".pnm": "PPM", ".jp2": "JPEG2000", ".dib": "BMP"}
    mode = {".pbm": "1", ".pgm": "L"}.get(suffix, "RGB")
    for number in (1, 2):
        picture = Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).convert(mode)
        picture.save(tmp_path / f"{number}{suffix}", format=names.get(suffix))
    assert load_picture(tmp_path / f"1{suffix}").min() > 250
    try:
        assert read_clip(tmp_path, ClipSpec(Sampling(), size=16)).info.num_frames == 2
    except InputError as error:  # pragma: no cover
        pytest.fail(str(error))


def test_a_folder_that_is_not_a_clip_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match=r"on standard input list files \(find -type f\)$"):
        read_clip(tmp_path, ClipSpec(Sampling()))
