"""Draw spans into the frames of a film: the current label and score, and a bar with all spans."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from vidlstm.media.encode import Draw
from vidlstm.media.video.base import Image
from vidlstm.records import CATCH_ALL, Span

Colour = tuple[int, int, int]

_BAR = 0.03  # share of the height
_TEXT = 0.06


def colours_of(classes: Sequence[str], others: Iterable[str] = ()) -> dict[str, Colour]:
    """Return a colour for each class of a model, the same in every film, page and window.

    An action's colour depends on the model's actions alone, not on which of them occur, nor on whether the
    classes for everything else are given. These and the other labels have paler colours.

    Args:
        classes: Classes of the model.
        others: Labels that may not be classes of the model.
    """
    actions = {name for name in classes if name.lower() not in CATCH_ALL}
    rest = {*classes, *others} - actions
    return {**_shades(sorted(actions), 0.75, 0.9), **_shades(sorted(rest), 0.25, 0.8)}


def hex_colours(classes: Sequence[str], others: Iterable[str] = ()) -> dict[str, str]:
    """Return the colours of `colours_of` as `#rrggbb`."""
    colours = colours_of(classes, others)
    return {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in colours.items()}


def _shades(names: Sequence[str], saturation: float, value: float) -> dict[str, Colour]:
    shades = (colorsys.hsv_to_rgb(place / len(names), saturation, value) for place in range(len(names)))
    return {
        name: (round(255 * r), round(255 * g), round(255 * b))
        for name, (r, g, b) in zip(names, shades, strict=True)
    }


def overlay(spans: Sequence[Span], seconds: float, classes: Sequence[str] = ()) -> Draw:
    """Return a function that draws a film's spans into its frames.

    Args:
        spans: The spans, in order of time.
        seconds: Length of the film.
        classes: Classes of the model, which determine the colours.
    """
    colours = colours_of(classes, (span.label for span in spans))

    def draw(image: Image, now: float) -> Image:
        picture = Picture.fromarray(image)
        canvas = ImageDraw.Draw(picture)
        width, height = picture.size
        bar = max(4, round(_BAR * height))
        top = height - bar
        canvas.rectangle((0, top, width, height), fill=(30, 30, 30))
        for span in spans:
            left, right = (round(t / max(seconds, 1e-6) * (width - 1)) for t in (span.start, span.end))
            canvas.rectangle((left, top, max(left, right - 1), height), fill=colours[span.label])
        place = min(width - 1, round(now / max(seconds, 1e-6) * (width - 1)))
        canvas.rectangle((place - 1, top - 2, place + 1, height), fill=(255, 255, 255))
        current = next((s for s in spans if s.start <= now < s.end), None)
        if current is not None:
            _write(canvas, height, f"{current.label} {current.score:.2f}", colours[current.label])
        return np.asarray(picture)

    return draw


def draw_text(image: Image, text: str, colour: Colour) -> Image:
    """Return an RGB frame with a line of text in its corner, on a background of the given colour."""
    picture = Picture.fromarray(image)
    _write(ImageDraw.Draw(picture), picture.size[1], text, colour)
    return np.asarray(picture)


def _write(canvas: ImageDraw.ImageDraw, height: int, text: str, colour: Colour) -> None:
    size = max(10, round(_TEXT * height))
    font = ImageFont.load_default(size)
    box = canvas.textbbox((size // 2, size // 2), text, font=font)
    pad = size // 4
    canvas.rectangle((box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad), fill=colour)
    light = sum(weight * part for weight, part in zip((0.299, 0.587, 0.114), colour, strict=True))
    ink = (0, 0, 0) if light > 140 else (255, 255, 255)
    canvas.text((size // 2, size // 2), text, fill=ink, font=font)
