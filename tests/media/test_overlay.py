"""Labels drawn into frames are legible, and a class has one colour everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.overlay import Colour, colours_of, draw_text, overlay
from vidlstm.records import Span


@pytest.mark.parametrize("background", [(255, 230, 90), (250, 250, 250)])
def test_text_on_a_light_colour_is_dark(background: Colour) -> None:
    assert drawn_on(background).min() < 60


@pytest.mark.parametrize("background", [(20, 30, 160), (160, 20, 60)])
def test_text_on_a_dark_colour_is_light(background: Colour) -> None:
    assert drawn_on(background).max() > 195


def test_a_class_has_one_colour_in_every_film_and_in_the_report() -> None:
    classes = ("background", "falling", "standup", "walk")
    colours = colours_of(classes)
    assert len({*colours.values()}) == 4
    actions = classes[1:]
    assert {name: colours[name] for name in actions} == colours_of(actions)
    assert colours_of(classes, ["jump"])["walk"] == colours["walk"], "a label that the model does not know"
    for occurring in (actions, ("standup",), ("walk", "standup")):
        spans = [Span(n, n + 1, label, 0.9) for n, label in enumerate(occurring)]
        copy = overlay(spans, len(spans), classes)(np.full((240, 320, 3), 128, np.uint8), 0.5)
        left = [round((n + 0.9) / len(spans) * 319) for n in range(len(spans))]
        assert [tuple(copy[-1, x].tolist()) for x in left] == [colours[label] for label in occurring]


def drawn_on(background: Colour) -> NDArray[np.float64]:
    """Return the brightness of the pixels of a label, without its border."""
    drawn = draw_text(np.full((240, 320, 3), 128, np.uint8), "wave 0.93", background)
    rows, columns = np.nonzero((drawn == background).all(axis=2))
    return np.asarray(drawn[rows.min() : rows.max(), columns.min() : columns.max()].mean(axis=2))
