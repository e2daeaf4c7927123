from __future__ import annotations

import os
import socket
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vidlstm.config import Grid
from vidlstm.errors import FailureCode, InputError
from vidlstm.media.image import (
    NEUTRAL,
    PictureLimits,
    cut_regions,
    load_picture,
    region_boxes,
    shrink,
)

GRID_2X2 = Grid(2, 2, overlap=0, whole=False)


def gradient(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """A picture with four different corners: red increases to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 60))
    return np.stack(planes, axis=-1).astype(np.uint8)


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def failure(path: Path, limits: PictureLimits | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        load_picture(path, limits)
    assert str(path) in str(caught.value)
    return caught.value


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


# --- decoding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_are_exact(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    picture = load_picture(save(tmp_path / f"a.{suffix}", gradient(), **options))
    np.testing.assert_array_equal(picture, gradient())
    assert picture.dtype == np.uint8


def test_jpeg_is_nearly_exact(tmp_path: Path) -> None:
    picture = load_picture(save(tmp_path / "a.jpg", gradient(), quality=95))
    assert np.abs(picture.astype(int) - gradient()).max() <= 12


def test_content_determines_the_format_not_the_name(tmp_path: Path) -> None:
    save(tmp_path / "a.png", gradient())
    (tmp_path / "a.png").rename(tmp_path / "-ä b.jpg")
    np.testing.assert_array_equal(load_picture(tmp_path / "-ä b.jpg"), gradient())


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
        8: lambda p: np.rot90(p, -1),
    }[orientation](gradient())
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", np.ascontiguousarray(stored), exif=exif, quality=95)
    picture = load_picture(path)
    assert picture.shape == gradient().shape
    assert np.abs(picture.astype(int) - gradient()).mean() < 4


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", gradient(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert load_picture(path).shape == gradient().shape


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I"]
)
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(gradient())
    image = image.convert("L").convert(mode) if mode in ("I;16", "I") else image.convert(mode)
    suffix = "png" if mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16") else "tif"
    image.save(tmp_path / f"a.{suffix}")
    if mode == "YCbCr":
        try:
            with Image.open(tmp_path / f"a.{suffix}") as file:
                file.load()
        except OSError:
            pytest.skip("this Pillow cannot read the YCbCr TIFF that it wrote")
    picture = load_picture(tmp_path / f"a.{suffix}")
    assert picture.shape == gradient().shape
    assert picture.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    for suffix in ("png", "tif"):
        picture = load_picture(save(tmp_path / f"a.{suffix}", deep))
        assert picture[0, :, 0].tolist() == [0, 0, 1, 128, 255]
        assert (picture == picture[:, :, :1]).all()


def test_sixteen_bit_colour_keeps_its_range(tmp_path: Path) -> None:
    row = struct.pack(">x6H", 0, 0x8000, 0xFFFF, 0x4000, 0, 0x00FF)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(row)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    np.testing.assert_allclose(load_picture(tmp_path / "a.png"), [[[0, 128, 255], [64, 0, 0]]], atol=1)


def test_cmyk_jpeg_is_not_a_negative(tmp_path: Path) -> None:
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(load_picture(tmp_path / "a.jpg").astype(int) - gradient()).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparent_pixels_are_neutral_grey(tmp_path: Path, suffix: str) -> None:
    pixels = np.dstack([gradient(), np.zeros(gradient().shape[:2], np.uint8)])
    pixels[:, :20, 3] = 255
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    picture = load_picture(save(tmp_path / f"a.{suffix}", pixels, **options))
    np.testing.assert_array_equal(picture[:, :20], gradient()[:, :20])
    assert (picture[:, 20:] == NEUTRAL).all()


def test_a_transparent_palette_colour_is_neutral_grey(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    picture = load_picture(tmp_path / "a.png")
    assert tuple(picture[0, 0]) == NEUTRAL
    assert tuple(picture[1, 1]) == (0, 255, 0)


def test_a_camera_jpeg_with_a_second_picture_gives_the_first(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), grey) for grey in ((40, 40, 40), (90, 90, 90))]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert tuple(load_picture(tmp_path / "a.jpg")[0, 0]) == (40, 40, 40)


def test_an_animated_picture_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(load_picture(tmp_path / "a.webp")[0, 0]) == (255, 0, 0)


# --- refused files ----------------------------------------------------------------------------------


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert failure(tmp_path / "none.png").code is FailureCode.NOT_FOUND
    assert failure(tmp_path / "empty.png" / "below.png").code is FailureCode.NOT_FOUND
    assert failure(tmp_path).code is FailureCode.NOT_A_FILE
    assert failure(tmp_path / "empty.png").code is FailureCode.EMPTY_FILE


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sockets in folders")
def test_a_socket_or_a_pipe_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert failure(tmp_path / "pipe.png").code is FailureCode.NOT_A_FILE
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(tmp_path)  # socket paths must be short
        unix.bind("s.png")
        assert failure(Path("s.png")).code is FailureCode.NOT_A_FILE


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", gradient())

    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "open", refuse)  # root can read every file
    assert failure(path).code is FailureCode.PERMISSION


@pytest.mark.parametrize(
    "content", [b"hello", b"\x00" * 100, b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"]
)
def test_files_that_are_not_pictures(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert failure(tmp_path / "a.jpg").code is FailureCode.NOT_A_PICTURE


@pytest.mark.parametrize(
    ("width", "height"), [(10_001, 10_000), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(width, height) + png_chunk(b"IDAT", b""))
    assert failure(tmp_path / "bomb.png").code is FailureCode.TOO_LARGE


def test_the_limit_can_be_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gradient(10, 10))
    assert load_picture(path, PictureLimits(max_pixels=100)).shape == (10, 10, 3)
    error = failure(path, PictureLimits(max_pixels=99))
    assert error.code is FailureCode.TOO_LARGE
    assert "10x10" in error.message


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.03, 0.3, 0.7, 0.95])
def test_a_truncated_file_has_a_reason(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = save(tmp_path / f"a.{suffix}", noise).read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(content[: int(len(content) * share)])
    error = failure(tmp_path / f"a.{suffix}")
    assert error.code in (FailureCode.TRUNCATED, FailureCode.READ_ERROR, FailureCode.NOT_A_PICTURE)
    assert "\n" not in error.message


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_damage_anywhere_gives_pixels_or_a_reason(tmp_path: Path, suffix: str) -> None:
    content = bytearray(save(tmp_path / f"a.{suffix}", gradient()).read_bytes())
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for place in random.integers(0, len(content) if random.random() < 0.5 else 64, 4):
            damaged[place] = random.integers(256)
        path = tmp_path / f"b.{suffix}"
        path.write_bytes(damaged)
        try:
            picture = load_picture(path, PictureLimits(max_pixels=1_000_000))
        except InputError:
            continue
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.zeros((4, 4), np.float32))
    assert failure(path).code is FailureCode.READ_ERROR


# --- regions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "grid", "expected"),
    [
        (4, 6, Grid(1, 1), [(0, 0, 4, 6)]),  # the whole picture is not read twice
        (4, 6, Grid(1, 1, whole=False), [(0, 0, 4, 6)]),
        (4, 6, GRID_2X2, [(0, 0, 2, 3), (0, 3, 2, 6), (2, 0, 4, 3), (2, 3, 4, 6)]),
        (4, 6, Grid(2, 2, overlap=0), [(0, 0, 4, 6), (0, 0, 2, 3), (0, 3, 2, 6), (2, 0, 4, 3), (2, 3, 4, 6)]),
        (
            4,
            6,
            Grid(2, 2, overlap=0, order="serpentine", whole=False),
            [(0, 0, 2, 3), (0, 3, 2, 6), (2, 3, 4, 6), (2, 0, 4, 3)],
        ),
        (
            5,
            7,
            GRID_2X2,
            [(0, 0, 3, 4), (0, 3, 3, 7), (2, 0, 5, 4), (2, 3, 5, 7)],
        ),  # uneven: one shared pixel
        (2, 12, Grid(1, 3, 0.5, whole=False), [(0, 0, 2, 6), (0, 3, 2, 9), (0, 6, 2, 12)]),
        (
            1,
            10,
            Grid(1, 4, overlap=0, whole=False),
            [(0, 0, 1, 3), (0, 2, 1, 5), (0, 4, 1, 7), (0, 7, 1, 10)],
        ),
        (
            1,
            2,
            Grid(1, 3, overlap=0, whole=False),
            [(0, 0, 1, 1), (0, 0, 1, 1), (0, 1, 1, 2)],
        ),  # fewer pixels than regions
        (1, 1, GRID_2X2, [(0, 0, 1, 1)] * 4),
    ],
)
def test_region_boxes(height: int, width: int, grid: Grid, expected: list[tuple[int, ...]]) -> None:
    boxes = region_boxes(height, width, grid)
    assert [tuple(box) for box in boxes.tolist()] == expected
    assert boxes.dtype == np.int64


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.9999])
def test_regions_cover_every_pixel_and_have_one_size(overlap: float) -> None:
    for length in range(1, 60):
        for count in range(1, 9):
            boxes = region_boxes(length, 3, Grid(count, 1, overlap, whole=False))
            top, bottom = boxes[:, 0], boxes[:, 2]
            assert len(boxes) == count
            assert len(set(bottom - top)) == 1
            assert top[0] == 0
            assert bottom[-1] == length
            assert (top[1:] <= bottom[:-1]).all()
            assert (np.diff(top) >= 0).all()


def test_a_region_of_the_requested_size_is_unchanged() -> None:
    picture = gradient(32, 32)
    regions = cut_regions(picture, region_boxes(32, 32, GRID_2X2), 16)
    np.testing.assert_array_equal(regions[3], picture[16:, 16:])


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 5000)])
def test_tiny_and_thin_pictures_are_cut(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    assert cut_regions(picture, region_boxes(*shape, Grid(4, 4, overlap=0)), 16).shape == (17, 16, 16, 3)


def test_shrink() -> None:
    assert shrink(gradient(24, 40), 40).shape == (24, 40, 3)
    assert shrink(gradient(24, 40), 20).shape == (12, 20, 3)
    assert shrink(np.zeros((1, 5000, 3), np.uint8), 100).shape == (1, 100, 3)
