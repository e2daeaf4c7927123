"""The HTML report: one file that needs no other file and no network.

File and class names are not trusted. They are escaped, and a Content Security Policy allows only the page's
own script and style, and no requests.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vidlstm.evaluations import EvalReport, Scored
from vidlstm.records import EpochReport, Score, Times
from vidlstm.report.findings import (
    baseline_name,
    baselines,
    cautions,
    confusions,
    doubtful_hits,
    mistakes,
    top,
)
from vidlstm.report.matrix import matrix
from vidlstm.report.plots import curves_svg, reliability_svg
from vidlstm.report.text import percent, printable
from vidlstm.report.timelines import FilmSection
from vidlstm.stores import address_of
from vidlstm.version import __version__

MAX_CLIPS = 12
"""Maximum number of mistakes, and of doubtful hits, with thumbnails; limits the size of the page."""
_MAX_FAILED = 200
_MAX_CONFUSIONS = 15


@dataclass(frozen=True)
class Card:
    """One clip on the page."""

    path: str
    link: str
    label: str
    top: list[Score]
    images: list[str]


def pictured_clips(report: EvalReport) -> list[tuple[Path, Times | None]]:
    """Return the clips that are shown with thumbnails: files, or parts of films."""
    clips = mistakes(report, MAX_CLIPS) + doubtful_hits(report, MAX_CLIPS)
    return [(clip.path, clip.times) for clip in clips]


def render(
    report: EvalReport,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    thumbnails: Mapping[tuple[Path, Times | None], Sequence[bytes]],
    command: str,
    curves: Sequence[EpochReport] = (),
    notes: Sequence[str] = (),
    films: FilmSection | None = None,
) -> str:
    """Return the page.

    Args:
        report: The evaluation.
        title: Title of the page.
        facts: Names and values: data, split, model, seed.
        thumbnails: JPEG files of the clips that `pictured_clips` returns. Some may be missing.
        command: The command that makes this report.
        curves: Epochs of the training, if they are known.
        notes: Cautions in addition to those that follow from the report.
        films: The films that the clips are parts of.
    """
    script = Markup(source("page.js.jinja"))
    style = Markup(source("page.css.jinja") + ("" if films is None else source("films.css.jinja")))
    page: str = environment().get_template("page.html.jinja").render(
        report=report,
        title=title,
        things="clips" if report.kind == "video" else "pictures",
        version=__version__,
        facts=facts,
        command=command,
        cautions=[*notes, *cautions(report)],
        bars=[("this model", report.top1), *baselines(report)],
        curves=curves_svg(curves) if curves else None,
        matrix=matrix(report),
        reliability=reliability_svg(report),
        confusions=confusions(report, _MAX_CONFUSIONS),
        mistakes=[_card(report, clip, thumbnails) for clip in mistakes(report, MAX_CLIPS)],
        doubtful=[_card(report, clip, thumbnails) for clip in doubtful_hits(report, MAX_CLIPS)],
        failed=report.failed[:_MAX_FAILED],
        num_failed=len(report.failed),
        spans=None if films is None else films.report,
        span_scores=[] if films is None else films.scores(),
        colours={} if films is None else films.colours,
        films=[] if films is None else films.rows(),
        idle=None,
        script=script,
        style=style,
        policy=policy(script, style),
    )  # fmt: skip
    return page


def _card(
    report: EvalReport, clip: Scored, thumbnails: Mapping[tuple[Path, Times | None], Sequence[bytes]]
) -> Card:
    images = [base64.b64encode(jpeg).decode() for jpeg in thumbnails.get((clip.path, clip.times), ())]
    return Card(_card_name(clip), _link(clip.path), clip.label, top(report, clip, 3), images)


def _card_name(clip: Scored) -> str:
    return (
        str(clip.path) if clip.times is None else f"{clip.path}, {clip.times[0]:.1f} to {clip.times[1]:.1f} s"
    )


def _link(path: Path) -> str:
    return address_of(path) or path.absolute().as_uri()


def policy(script: str, style: str) -> str:
    """Return the Content Security Policy of a page with this script and this style, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def environment() -> Environment:
    """Return the Jinja environment: everything is escaped, control characters are shown."""
    environment = Environment(
        loader=PackageLoader("vidlstm", "report"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["baseline"] = baseline_name
    environment.filters["link"] = _link
    return environment


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def source(name: str) -> str:
    """Return the text of a file in this module's folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
