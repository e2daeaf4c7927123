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
from vidlstm.version import __version__

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MAX_TICKS = 8
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
    bars = [(s, _percent(s.start, film), _percent(s.end - s.start, film)) for s in film.spans]
    return {
        "number": number,
        "film": film,
        "link": Path(film.path).absolute().as_uri(),
        "length": clock(film.seconds),
        "counts": counts.most_common(),
        "bars": bars,
        "curves": {name: _points(values) for name, values in card.curves.items()},
        "ticks": [(clock(time), _percent(time, film)) for time in ticks(film.seconds)],
        "spans": [
            (span, clock(span.start), clock(span.end), _encoded(card.images.get(place)))
            for place, span in enumerate(film.spans[:_SHOWN])
        ],
        "num_more": max(0, len(film.spans) - _SHOWN),
    }  # fmt: skip


def ticks(seconds: float) -> list[int]:
    """Return the tick positions of a time axis in seconds: round numbers, not too many."""
    step = next((s for s in _STEPS if seconds / s < _MAX_TICKS), _STEPS[-1])
    return list(range(0, int(seconds) + 1, step))


def clock(seconds: float) -> str:
    """Format a time for people: `1:02:03`, `2:03`, or `3.4 s` below a minute."""
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _percent(seconds: float, film: FilmSpans) -> str:
    return f"{100 * seconds / max(film.seconds, 1e-6):.3f}%"


def _points(values: Sequence[float]) -> str:
    """Return the points of a curve in a box of 1000 by 100."""
    last = max(1, len(values) - 1)
    return " ".join(f"{1000 * place / last:.1f},{100 - 100 * v:.1f}" for place, v in enumerate(values))


def _encoded(jpeg: bytes | None) -> str:
    return "" if jpeg is None else base64.b64encode(jpeg).decode()
