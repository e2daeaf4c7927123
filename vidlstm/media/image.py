"""One picture to its sequence of regions.

Pictures are PNG, JPEG, JPEG 2000, WebP, BMP, TIFF and PNM files in every colour mode that these formats
hold (grey, palette, alpha, 16 bits a channel, CMYK); all come out as 8-bit RGB, turned the way up that
EXIF says.
A picture that claims more pixels than the limit is refused from its header, before anything is
decoded. Not covered: colour profiles (values are taken as sRGB), floating-point pixels, and the
frames of animated files after the first.
"""

from __future__ import annotations

import math
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vidlstm.config import Grid
from vidlstm.errors import FailureCode, InputError
from vidlstm.media.opencv import cv2

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000")
NEUTRAL = (127, 127, 127)
"""Grey that stands behind transparent pixels: the middle of the encoder's input range."""


@dataclass(frozen=True)
class PictureLimits:
    """What is too much for one picture.

    Args:
        max_pixels: Width times height, as the header claims them.
    """

    max_pixels: int = 100_000_000


def load_picture(path: Path, limits: PictureLimits | None = None) -> NDArray[np.uint8]:
    """Decode one picture the way a viewer shows it.

    Args:
        path: A file in one of `FORMATS`, whatever its name.
        limits: What is refused; by default more than 100 megapixels.

    Returns:
        Pixels, `uint8 (H, W, 3)` RGB.

    Raises:
        InputError: `not_found`, `permission`, `not_a_file`, `empty_file`, `not_a_picture`,
            `too_large`, `truncated` (the file ends before the picture does) or `read_error`.
    """
    limits = limits or PictureLimits()
    with _input_errors(path):
        _require_content(path)
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                allowed = f"{limits.max_pixels / 1e6:g} million"
                message = f"its {width}x{height} pixels are over the limit of {allowed}: shrink it"
                raise InputError(path, FailureCode.TOO_LARGE, message)
            image.load()
            return _to_rgb(_upright(image))


def region_boxes(height: int, width: int, grid: Grid) -> NDArray[np.int64]:
    """Cut a picture into the regions of a grid, in reading order.

    All regions of a grid have one size, the smallest at which they cover every pixel and share
    `overlap` of a side with their neighbours; where the picture does not divide evenly, they overlap
    by the pixel that is missing. A picture with fewer pixels than regions repeats pixels.

    Args:
        height: Of the picture, in pixels, at least 1.
        width: Of the picture, in pixels, at least 1.
        grid: Rows, columns, overlap and order; with `whole`, the whole picture comes first.

    Returns:
        `int64 (R, 4)`: top, left, bottom, right of each region, in pixels, bottom and right excluded.
    """
    rows = _spans(height, grid.rows, grid.overlap)
    columns = _spans(width, grid.columns, grid.overlap)
    boxes = [(0, 0, height, width)] if grid.whole and len(rows) * len(columns) > 1 else []
    for number, (top, bottom) in enumerate(rows):
        backwards = grid.order == "serpentine" and number % 2 == 1
        for left, right in reversed(columns) if backwards else columns:
            boxes.append((top, left, bottom, right))
    return np.array(boxes, dtype=np.int64)


def cut_regions(picture: NDArray[np.uint8], boxes: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Bring the regions of a picture to one size.

    Args:
        picture: `uint8 (H, W, 3)`.
        boxes: `int64 (R, 4)`, as `region_boxes` gives them.
        size: Side of the square that each region is resized to, in pixels.

    Returns:
        `uint8 (R, size, size, 3)`.
    """
    regions = np.empty((len(boxes), size, size, 3), np.uint8)
    for region, (top, left, bottom, right) in zip(regions, boxes.tolist(), strict=True):
        # Cubic keeps edges sharp in the enlargement; only area averages what a reduction drops.
        enlarge = max(bottom - top, right - left) <= size
        method = cv2.INTER_CUBIC if enlarge else cv2.INTER_AREA
        pixels = np.ascontiguousarray(picture[top:bottom, left:right])
        region[:] = cv2.resize(pixels, (size, size), interpolation=method)
    return regions


def shrink(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Bring a picture down to at most `side` pixels on its longer side, keeping its shape.

    Args:
        picture: `uint8 (H, W, 3)`; one that is small enough comes back as it is.
        side: In pixels, at least 1.

    Returns:
        `uint8 (h, w, 3)`.
    """
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, target, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _spans(length: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """Spread `count` intervals of one size evenly over `length` pixels."""
    # A fraction, because 1 - 0.9 and its like would otherwise move a border on some machine.
    share = Fraction(overlap).limit_denominator(1000)
    side = min(length, math.ceil(length / (count - (count - 1) * share)))
    starts = [number * (length - side) // max(count - 1, 1) for number in range(count)]
    return [(start, start + side) for start in starts]


def _require_content(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(path, FailureCode.NOT_A_FILE, "this is not a regular file: give a picture file")
    if status.st_size == 0:
        raise InputError(path, FailureCode.EMPTY_FILE, "the file is empty")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever a damaged EXIF block makes Pillow stumble on: the pixels are good
        return image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert any colour mode to `uint8 (H, W, 3)`, transparent pixels on neutral grey."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        # 16 bits of grey (a 32-bit "I" is how older Pillow opens them): `convert` would clip at 255.
        grey = (np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white")
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (*NEUTRAL, 255))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return np.array(image.convert("RGB"), dtype=np.uint8)


@contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    """Turn everything that opening and decoding can raise into an `InputError`, and warnings into nothing."""

    def failed(code: FailureCode, message: str) -> InputError:
        return InputError(path, code, message)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's on big pictures and on odd metadata
            yield
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise failed(FailureCode.NOT_FOUND, "there is no such file") from None
    except IsADirectoryError:
        raise failed(FailureCode.NOT_A_FILE, "this is a folder: give a picture file") from None
    except PermissionError:
        raise failed(FailureCode.PERMISSION, "no permission to read it: change its mode or owner") from None
    except Image.DecompressionBombError:
        raise failed(FailureCode.TOO_LARGE, "its header claims far too many pixels: shrink it") from None
    except MemoryError:
        raise failed(FailureCode.TOO_LARGE, "there is not enough memory to decode it: shrink it") from None
    except UnidentifiedImageError:
        message = "this is not a PNG, JPEG, WebP, BMP, TIFF, PNM or JPEG 2000 picture"
        raise failed(FailureCode.NOT_A_PICTURE, message) from None
    except Exception as error:  # Pillow's decoders raise whatever their parsing stumbles on
        if "truncated" in str(error).lower():
            message = "the file ends before the picture does: copy it again"
            raise failed(FailureCode.TRUNCATED, message) from error
        message = f"the picture cannot be decoded ({error}): save it anew"
        raise failed(FailureCode.READ_ERROR, message) from error
