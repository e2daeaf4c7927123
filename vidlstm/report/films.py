"""The page of `spans --report`: the spans of films. One file that needs no other file and no network.

It has no scripts and allows none. Each class has one colour, on the timeline and in the curves.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vidlstm.records import Failure, FilmSpans
from vidlstm.report.page import environment, policy, source
from vidlstm.report.timelines import bars, clock, ticks
from vidlstm.version import __version__

_SHOWN = 200
"""Maximum number of spans in a film's list; the timeline has all of them."""


@dataclass(frozen=True)
class FilmCard:
    """One film on the page.

    Args:
        film: Its spans, or why there are none.
        curves: Scores at equal steps of time, by class.
        images: JPEG files, by the number of the span that they show.
    """

    film: FilmSpans | Failure
    curves: Mapping[str, Sequence[float]]
    images: Mapping[int, bytes]


def render_films(
    cards: Sequence[FilmCard], colours: Mapping[str, str], *, idle: str, title: str, command: str
) -> str:
    """Return the page.

    Args:
        cards: In the order of the films.
        colours: Colours of the classes, `#rrggbb`.
        idle: Name of the class without spans, shown in grey.
        title: Title of the page.
        command: The command that makes this page.
    """
    style = Markup(source("page.css.jinja") + source("films.css.jinja"))
    done = [card for card in cards if isinstance(card.film, FilmSpans)]
    page: str = environment().get_template("films.html.jinja").render(
        title=title,
        version=__version__,
        command=command,
        colours=colours,
        idle=idle,
        films=[_shown(number, card) for number, card in enumerate(done, 1)],
        failed=[card.film for card in cards if isinstance(card.film, Failure)],
        style=style,
        policy=policy("", style),
    )  # fmt: skip
    return page


def _shown(number: int, card: FilmCard) -> dict[str, Any]:
    """Return the template's variables for a film."""
    film = card.film
    assert isinstance(film, FilmSpans)
    counts = Counter(span.label for span in film.spans)
    return {
        "number": number,
        "film": film,
        "link": Path(film.path).absolute().as_uri(),
        "length": clock(film.seconds),
        "counts": counts.most_common(),
        "bars": bars(film.spans, film.seconds),
        "curves": {name: _points(values) for name, values in card.curves.items()},
        "ticks": ticks(film.seconds),
        "spans": [
            (span, clock(span.start), clock(span.end), _encoded(card.images.get(place)))
            for place, span in enumerate(film.spans[:_SHOWN])
        ],
        "num_more": max(0, len(film.spans) - _SHOWN),
    }  # fmt: skip


def _points(values: Sequence[float]) -> str:
    """Return the points of a curve in a box of 1000 by 100."""
    last = max(1, len(values) - 1)
    return " ".join(f"{1000 * place / last:.1f},{100 - 100 * v:.1f}" for place, v in enumerate(values))


def _encoded(jpeg: bytes | None) -> str:
    return "" if jpeg is None else base64.b64encode(jpeg).decode()
