"""The review page: one file for correcting labels with keys or taps, without a network.

Decisions are kept in the browser and downloaded as `decisions.csv`. Names are not trusted: they are embedded
as JSON and inserted into the page as text, never as markup.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from markupsafe import Markup

from vidlstm.report.page import environment, policy, source
from vidlstm.report.text import printable
from vidlstm.version import __version__


@dataclass(frozen=True)
class ReviewCard:
    """One clip, or one span of a film, to review.

    Args:
        path: Path as written to `decisions.csv`.
        label: The current label; empty if none.
        suggested: The label that the model suggests; empty if none.
        score: Score of the suggested label, 0 to 1.
        top: The best classes and their scores, best first.
        start: Start of the span, in seconds; None for a whole clip.
        end: End of the span, in seconds.
        subset: Subset of the split; empty if unknown.
        unknown: The clip is unlike the training data.
        images: JPEG files, in the order of time.
    """

    path: str
    label: str
    suggested: str
    score: float
    top: Sequence[tuple[str, float]]
    start: float | None
    end: float | None
    subset: str
    unknown: bool
    images: Sequence[bytes]


def render_review(cards: Sequence[ReviewCard], classes: Sequence[str], title: str) -> str:
    """Return the page.

    Args:
        cards: In the order of the review.
        classes: Classes to choose from.
        title: Title of the page.
    """
    data = {
        "title": title,
        "classes": list(classes),
        "clips": [
            {
                "path": card.path,
                "shown": printable(card.path),
                "label": card.label,
                "suggested": card.suggested,
                "score": round(card.score, 4),
                "top": [[name, round(score, 4)] for name, score in card.top],
                "start": card.start,
                "end": card.end,
                "subset": card.subset,
                "unknown": card.unknown,
                "images": [base64.b64encode(jpeg).decode() for jpeg in card.images],
            }
            for card in cards
        ],
    }
    embedded = _embedded(data)
    script, style = Markup(source("review.js.jinja")), Markup(source("review.css.jinja"))
    page: str = environment().get_template("review.html.jinja").render(
        title=title,
        version=__version__,
        data=Markup(embedded),
        key=sha256(embedded.encode()).hexdigest(),  # decisions are stored under it, by the number of the clip
        script=script,
        style=style,
        policy=policy(script, style),
    )  # fmt: skip
    return page


def _embedded(data: object) -> str:
    """Return JSON that cannot end the script element that holds it."""
    return json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
