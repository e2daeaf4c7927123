"""Labels drawn into frames are legible."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.overlay import Colour, draw_text


@pytest.mark.parametrize("background", [(255, 230, 90), (250, 250, 250)])
def test_text_on_a_light_colour_is_dark(background: Colour) -> None:
    assert drawn_on(background).min() < 60


@pytest.mark.parametrize("background", [(20, 30, 160), (160, 20, 60)])
def test_text_on_a_dark_colour_is_light(background: Colour) -> None:
    assert drawn_on(background).max() > 195


def drawn_on(background: Colour) -> NDArray[np.float64]:
    """Return the brightness of the pixels of a label, without its border."""
    drawn = draw_text(np.full((240, 320, 3), 128, np.uint8), "wave 0.93", background)
    rows, columns = np.nonzero((drawn == background).all(axis=2))
    return np.asarray(drawn[rows.min() : rows.max(), columns.min() : columns.max()].mean(axis=2))
