"""Read a picture and cut it into a sequence of regions.

Pictures are PNG, JPEG, JPEG 2000, WebP, BMP, TIFF and PNM files in any colour mode of these formats (grey,
palette, alpha, 16 bits per channel, CMYK). All are converted to 8-bit RGB and rotated as EXIF says. A picture
with more pixels than the limit is refused by its header, before anything is decoded. Not supported: colour
profiles (values are taken as sRGB), floating-point pixels, and frames of animated files after the first.
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
"""Background of transparent pixels: grey in the middle of the encoder's input range."""


@dataclass(frozen=True)
class PictureLimits:
    """Limits of one picture.

    Args:
        max_pixels: Maximum width times height, according to the header.
    """

    max_pixels: int = 100_000_000


def load_picture(path: Path, limits: PictureLimits | None = None) -> NDArray[np.uint8]:
    """Decode one picture, rotated as a viewer shows it.

    Args:
        path: A file in one of `FORMATS`, with any name.
        limits: Limits of the picture; by default 100 megapixels.

    Returns:
        RGB pixels, uint8 `(H, W, 3)`.

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
                message = f"its {width}x{height} pixels are over the limit of {allowed}; scale it down"
                raise InputError(path, FailureCode.TOO_LARGE, message)
            image.load()
            return _to_rgb(_upright(image))


def region_boxes(height: int, width: int, grid: Grid) -> NDArray[np.int64]:
    """Return the regions of a grid on a picture, in reading order.

    All regions have the same size: the smallest with which they cover every pixel and overlap their
    neighbours by `overlap` of a side. If the picture does not divide evenly, some overlap by one pixel more.
    A picture with fewer pixels than regions repeats pixels.

    Args:
        height: Height of the picture, in pixels, at least 1.
        width: Width of the picture, in pixels, at least 1.
        grid: Rows, columns, overlap and order; with `whole`, the whole picture comes first.

    Returns:
        int64 `(R, 4)`: top, left, bottom and right of each region in pixels; bottom and right are exclusive.
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
    """Cut regions out of a picture and resize them to squares.

    Args:
        picture: uint8 `(H, W, 3)`.
        boxes: int64 `(R, 4)`, as from `region_boxes`.
        size: Side of the squares, in pixels.

    Returns:
        uint8 `(R, size, size, 3)`.
    """
    regions = np.empty((len(boxes), size, size, 3), np.uint8)
    for region, (top, left, bottom, right) in zip(regions, boxes.tolist(), strict=True):
        # Cubic interpolation keeps edges sharp when enlarging; area averages pixels when reducing.
        enlarge = max(bottom - top, right - left) <= size
        method = cv2.INTER_CUBIC if enlarge else cv2.INTER_AREA
        pixels = np.ascontiguousarray(picture[top:bottom, left:right])
        region[:] = cv2.resize(pixels, (size, size), interpolation=method)
    return regions


def shrink(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink a picture to at most `side` pixels on its longer side, keeping its proportions.

    Args:
        picture: uint8 `(H, W, 3)`; returned unchanged if it is small enough.
        side: Maximum length of a side in pixels, at least 1.

    Returns:
        uint8 `(h, w, 3)`.
    """
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, target, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _spans(length: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """Spread `count` intervals of equal size evenly over `length` pixels."""
    # A fraction, because rounding of 1 - 0.9 and the like could move a border.
    share = Fraction(overlap).limit_denominator(1000)
    side = min(length, math.ceil(length / (count - (count - 1) * share)))
    starts = [number * (length - side) // max(count - 1, 1) for number in range(count)]
    return [(start, start + side) for start in starts]


def _require_content(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(path, FailureCode.NOT_A_FILE, "is not a regular file")
    if status.st_size == 0:
        raise InputError(path, FailureCode.EMPTY_FILE, "is empty")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises many types on a damaged EXIF block; the pixels are good
        return image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert any colour mode to `uint8 (H, W, 3)`, transparent pixels on neutral grey."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        # 16-bit grey (older Pillow opens it as 32-bit "I"): `convert` would clip at 255.
        grey = (np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point pixels are not supported")
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (*NEUTRAL, 255))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return np.array(image.convert("RGB"), dtype=np.uint8)


@contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    """Turn all exceptions from opening and decoding into an `InputError`, and suppress warnings."""

    def failed(code: FailureCode, message: str) -> InputError:
        return InputError(path, code, message)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large pictures and odd metadata
            yield
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise failed(FailureCode.NOT_FOUND, "no such file") from None
    except IsADirectoryError:
        raise failed(FailureCode.NOT_A_FILE, "is a folder, not a picture") from None
    except PermissionError:
        raise failed(FailureCode.PERMISSION, "no permission to read it") from None
    except Image.DecompressionBombError:
        raise failed(FailureCode.TOO_LARGE, "its header claims too many pixels; scale it down") from None
    except MemoryError:
        raise failed(FailureCode.TOO_LARGE, "not enough memory to decode it; scale it down") from None
    except UnidentifiedImageError:
        message = "is not a PNG, JPEG, WebP, BMP, TIFF, PNM or JPEG 2000 picture"
        raise failed(FailureCode.NOT_A_PICTURE, message) from None
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        if "truncated" in str(error).lower():
            message = "the file is cut short; copy it again"
            raise failed(FailureCode.TRUNCATED, message) from error
        message = f"cannot be decoded ({error}); save it again"
        raise failed(FailureCode.READ_ERROR, message) from error
