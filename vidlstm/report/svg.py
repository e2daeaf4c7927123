"""Plots as inline SVG. Colours come from the page's style by class names, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from vidlstm.metrics.classification import BINS, calibration
from vidlstm.records import EpochReport, EvalReport
from vidlstm.report.findings import baselines
from vidlstm.report.text import percent, printable, shortened

_SHADES = 5  # of the confusion matrix; the style gives each its colour and its text's


@dataclass(frozen=True)
class _Panel:
    """A rectangle with axes, in whose values points are given."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(self.left + self.width * (value - low) / ((high - low) or 1), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(self.top + self.height * (1 - (value - low) / ((high - low) or 1)), 1)

    def axes(self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, title: str) -> str:
        bottom = self.top + self.height
        right = self.left + self.width
        parts = [_text(self.left, self.top - 10, title, "start", "title")]
        for tick in y_ticks:
            y = self.y(tick)
            parts.append(f'<path class="grid" d="M{self.left} {y}H{right}"/>')
            parts.append(_text(self.left - 6, y + 4, f"{tick:g}", "end"))
        for tick in x_ticks:
            parts.append(_text(self.x(tick), bottom + 16, f"{tick:g}", "middle"))
        parts.append(_text((self.left + right) / 2, bottom + 34, x_name, "middle"))
        return "".join(parts)

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> str:
        known = [(x, y) for x, y in points if math.isfinite(y)]
        path = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in known)
        return f'<polyline class="line {kind}" points="{path}"/>'


def curves(epochs: Sequence[EpochReport]) -> Markup:
    """Draw the losses, and the validation's top-1, over the epochs.

    Args:
        epochs: At least one.
    """
    train = [(float(e.epoch), e.train_loss) for e in epochs]
    val = [(float(e.epoch), e.val_loss) for e in epochs if e.val_loss is not None]
    top1 = [(float(e.epoch), e.val_top1) for e in epochs if e.val_top1 is not None]
    x_range = (1.0, float(max(2, epochs[-1].epoch)))
    x_ticks = sorted({round(1 + (x_range[1] - 1) * i / 4) for i in range(5)})
    highest = max([y for _, y in train + val if math.isfinite(y)], default=1.0) or 1.0
    y_ticks = _ticks(highest)
    losses = _Panel(44, 30, 300, 180, x_range, (0, max(highest, y_ticks[-1])))
    legend = [("train", "training"), *([("val", "validation")] if val else [])]
    drawn = losses.axes(x_ticks, y_ticks, "epoch", "Loss") + losses.line(train, "train")
    drawn += losses.line(val, "val") + _legend(losses, legend)
    pictures = [_svg(360, 250, f"Loss over {len(epochs)} epochs", drawn)]
    if top1:
        panel = _Panel(44, 30, 300, 180, x_range, (0, 1))
        drawn = panel.axes(x_ticks, [0, 0.25, 0.5, 0.75, 1], "epoch", "Top-1 on validation")
        drawn += panel.line(top1, "val")
        best = [e for e in epochs if e.is_best and e.val_top1 is not None][-1:]
        for e in best:
            x, y = panel.x(e.epoch), panel.y(e.val_top1 or 0)
            drawn += f'<circle class="best" cx="{x}" cy="{y}" r="4"/>'
            drawn += _text(panel.left + panel.width, panel.top + panel.height - 8, f"● best: epoch {e.epoch}",
                           "end", "best")  # fmt: skip
        pictures.append(_svg(360, 250, "Top-1 on validation over the epochs", drawn))
    return Markup("").join(pictures)


def headline(report: EvalReport) -> Markup:
    """Draw the accuracy with its interval above what it has to beat, as bars on one scale."""
    rows = [("this model", report.top1), *baselines(report)]
    panel = _Panel(4, 0, 336, 44 * len(rows), (0, 1), (0, 1))
    parts = []
    for i, (name, value) in enumerate(rows):
        y, kind = 44 * i, "model" if i == 0 else "control"
        parts.append(_text(4, y + 14, f"{shortened(name, 36)}: {percent(value)}", "start"))
        parts.append(f'<rect class="track" x="4" y="{y + 20}" width="336" height="14"/>')
        parts.append(
            f'<rect class="bar {kind}" x="4" y="{y + 20}" width="{panel.x(value) - 4:g}" height="14"/>'
        )
    low, high = panel.x(report.top1_interval.low), panel.x(report.top1_interval.high)
    parts.append(f'<path class="whisker" d="M{low} 18v18M{high} 18v18M{low} 27H{high}"/>')
    name = "Top-1 beside what it has to beat: " + ", ".join(f"{n} {percent(v)}" for n, v in rows)
    return _svg(344, 44 * len(rows), name, "".join(parts))


def reliability(report: EvalReport) -> Markup:
    """Draw how often the model is right against how sure it is; faint beside it, before calibration."""
    calibrated = calibration(report)
    panel = _Panel(44, 30, 290, 290, (0, 1), (0, 1))
    ticks = [0, 0.25, 0.5, 0.75, 1]
    parts = [panel.axes(ticks, ticks, "confidence", "Share that is right")]
    for b in calibrated:
        left, right, top = panel.x(b.low), panel.x(b.low + 1 / BINS), panel.y(b.accuracy)
        parts.append(
            f'<rect class="bin" x="{left}" y="{top}" width="{right - left:.1f}" '
            f'height="{panel.y(0) - top:.1f}"><title>{b.num_clips} clips, '
            f"mean confidence {b.confidence:.2f}, {percent(b.accuracy)} right</title></rect>"
        )
    parts.append(panel.line([(0, 0), (1, 1)], "ideal"))
    if report.temperature is not None:
        before = calibration(report, temperature=report.temperature)
        parts.append(panel.line([(b.confidence, b.accuracy) for b in before], "train"))
    parts.append(panel.line([(b.confidence, b.accuracy) for b in calibrated], "val"))
    for b in calibrated:
        parts.append(f'<circle class="dot" cx="{panel.x(b.confidence)}" cy="{panel.y(b.accuracy)}" r="3"/>')
    return _svg(350, 365, "Reliability diagram: share of right clips against confidence", "".join(parts))


def confusion(report: EvalReport) -> Markup:
    """Draw the confusion matrix: hits and mistakes in two colours, stronger with their share of the class.

    Four pictures for a grid whose labels stay in sight while the cells scroll: corner, columns, rows,
    cells. Only cells with clips are drawn, so that 101 classes stay a small file; each says what it
    is when pointed at.
    """
    size = len(report.classes)
    cell, font = (36, 13) if size <= 12 else (28, 11) if size <= 40 else (17, 9)
    names = [printable(name) for name in report.classes]
    labels = [shortened(name, 24) for name in report.classes]
    margin = round(max(map(len, labels)) * font * 0.56) + 12
    side = cell * size + 1
    columns, rows = [], []
    for i, label in enumerate(labels):
        middle = cell * i + cell / 2 + font / 3
        rows.append(_text(margin - 6, middle, label, "end"))
        columns.append(
            f'<text transform="translate({middle:.1f} {margin - 6}) rotate(-90)">{escape(label)}</text>'
        )
    step = cell if size <= 40 else 5 * cell
    lines = "".join(f"M0 {at}.5h{side}M{at}.5 0v{side}" for at in range(0, side, step))
    cells = [f'<rect class="track" width="{side}" height="{side}"/><path class="grid" d="{lines}"/>']
    for true, row in enumerate(report.confusion):
        total = sum(row)
        for guess, count in enumerate(row):
            if not count:
                continue
            shade = min(_SHADES - 1, int(count / total * _SHADES))
            x, y = cell * guess, cell * true
            title = f"{names[true]} → {names[guess]}: {count} of {total}"
            cells.append(
                f'<g class="{"hit" if true == guess else "miss"}{shade}">'
                f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}"/>'
                f'<text x="{x + cell / 2:g}" y="{y + cell / 2 + font / 3:.1f}">{count}</text>'
                f"<title>{escape(title)}</title></g>"
            )
    name = "Confusion matrix: rows are true classes, columns what was recognised"
    return Markup("").join(
        [
            _svg(margin, margin, "", "", "corner"),
            _svg(side, margin, "Names of the columns", "".join(columns), f"columns font{font}"),
            _svg(margin, side, "Names of the rows", "".join(rows), f"rows font{font}"),
            _svg(side, side, name, "".join(cells), f"cells font{font}"),
        ]
    )


def _svg(width: float, height: float, name: str, content: str, kind: str = "plot") -> Markup:
    role = f'role="img" aria-label="{escape(name)}"' if name else 'aria-hidden="true"'
    return Markup(
        f'<svg class="{kind}" {role} viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}">{content}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(panel: _Panel, entries: Sequence[tuple[str, str]]) -> str:
    parts = []
    for i, (kind, name) in enumerate(entries):
        y = panel.top + 12 + 16 * i
        x = panel.left + panel.width
        parts.append(f'<path class="line {kind}" d="M{x - 28} {y - 4}H{x}"/>' + _text(x - 34, y, name, "end"))
    return "".join(parts)


def _ticks(highest: float) -> list[float]:
    """Return round numbers from 0 to just over the highest."""
    power = 10.0 ** math.floor(math.log10(highest))
    step = next(power * m for m in (0.2, 0.5, 1, 2) if highest / (power * m) <= 5)
    return [round(step * i, 10) for i in range(math.ceil(highest / step) + 1)]
