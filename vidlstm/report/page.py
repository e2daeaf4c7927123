"""The HTML report: one file that opens anywhere, with no network and no other file.

Names come from the user's disk and are not to be trusted: everything is escaped, and a Content
Security Policy lets the page run its own script and nothing else, and load nothing at all.
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

from vidlstm.records import EpochReport, EvalReport, Score, Scored
from vidlstm.report import svg
from vidlstm.report.findings import cautions, confusions, doubtful_hits, mistakes, top
from vidlstm.report.text import percent, printable
from vidlstm.version import __version__

SHOWN_CLIPS = 12
"""Strips of mistakes, and of doubtful hits: what keeps the page small."""
_SHOWN_FAILED = 200
_SHOWN_CONFUSIONS = 15


@dataclass(frozen=True)
class Card:
    """A clip as the page shows it."""

    path: str
    link: str
    label: str
    top: list[Score]
    images: list[str]


def shown_clips(report: EvalReport) -> list[Path]:
    """Return the clips that the page shows, whose film strips it asks for."""
    clips = mistakes(report, SHOWN_CLIPS) + doubtful_hits(report, SHOWN_CLIPS)
    return [clip.path for clip in clips]


def render(
    report: EvalReport,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    strips: Mapping[Path, Sequence[bytes]],
    command: str,
    curves: Sequence[EpochReport] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        report: What it is about.
        title: Of the page.
        facts: Names and values: data, split, model, seed.
        strips: JPEG files of the clips that `shown_clips` names, as far as there are any.
        command: That makes the same report again.
        curves: Epochs of the training, as far as they are known.
        notes: What else the reader must know before believing the figures.
    """
    script, style = (Markup(_source(name)) for name in ("page.js.jinja", "page.css.jinja"))
    page: str = _environment().get_template("page.html.jinja").render(
        report=report,
        title=title,
        version=__version__,
        facts=facts,
        command=command,
        cautions=[*notes, *cautions(report)],
        headline=svg.headline(report),
        curves=svg.curves(curves) if curves else None,
        confusion=svg.confusion(report),
        reliability=svg.reliability(report),
        confusions=confusions(report, _SHOWN_CONFUSIONS),
        mistakes=[_card(report, clip, strips) for clip in mistakes(report, SHOWN_CLIPS)],
        doubtful=[_card(report, clip, strips) for clip in doubtful_hits(report, SHOWN_CLIPS)],
        failed=report.failed[:_SHOWN_FAILED],
        num_failed=len(report.failed),
        script=script,
        style=style,
        policy=f"default-src 'none'; img-src data:; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
    )  # fmt: skip
    return page


def _card(report: EvalReport, clip: Scored, strips: Mapping[Path, Sequence[bytes]]) -> Card:
    images = [base64.b64encode(jpeg).decode() for jpeg in strips.get(clip.path, ())]
    return Card(str(clip.path), _link(clip.path), clip.label, top(report, clip, 3), images)


def _link(path: Path) -> str:
    return path.absolute().as_uri()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vidlstm", "report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["link"] = _link
    return environment


def _shown(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _source(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
