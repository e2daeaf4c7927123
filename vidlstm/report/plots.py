"""Training curves, confusion matrix and reliability diagram, drawn by matplotlib.

`curves_png` and the other `..._png` functions return PNG files for papers. `curves_svg` and
`reliability_svg` return the same plots as inline SVG for the report page, whose style sheet gives
them their colours. No pyplot: nothing global is changed and no window can open.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

from vidlstm.evaluations import EvalReport
from vidlstm.metrics.classification import BINS, Bin, calibration, calibration_error
from vidlstm.records import EpochReport
from vidlstm.report.text import percent, shortened

# On import, matplotlib logs about its settings and fonts, which is of no use to users.
_log = logging.getLogger("matplotlib")
_level = _log.level
_log.setLevel(logging.ERROR)
import matplotlib  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

_log.setLevel(_level)

_DPI = 150
_MAX_PIXELS = 8000  # longest side of a picture: a matrix of 700 classes would take more than 1 GB
_BLUE, _ORANGE, _GREY, _RULE = "#1c5fb0", "#c2500a", "#767676", "#d4d4d4"
_THEME = {
    "#000000": "var(--ink)",
    "#ffffff": "var(--paper)",
    _BLUE: "var(--blue)",
    _ORANGE: "var(--orange)",
    _GREY: "var(--grey)",
    _RULE: "var(--rule)",
}
"""Variables of the page's style sheet that replace matplotlib's colours."""
_LARGEST_POINT = 400  # area of a point with all clips, in square points
_NUMBERED = 40  # maximum number of classes for counts in every cell of the confusion matrix
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


def curves_png(epochs: Sequence[EpochReport]) -> bytes:
    """Draw training loss, validation loss and validation accuracy over the epochs.

    Args:
        epochs: At least one.
    """
    panels = _panels(epochs)
    figure = Figure(figsize=(4.4 * len(panels), 3.4), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_curve(axes, epochs, title, values)
    return _png(figure)


def curves_svg(epochs: Sequence[EpochReport]) -> Markup:
    """Draw the same curves as separate pictures, so that a narrow page can stack them."""
    drawn = []
    for title, values in _panels(epochs):
        figure = Figure(figsize=(4.8, 3.2), layout="constrained")
        _draw_curve(figure.subplots(), epochs, title, values)
        drawn.append(_svg(figure, f"{title} over {len(epochs)} epoch{'s' * (len(epochs) != 1)}"))
    return Markup("").join(drawn)


def confusion_png(report: EvalReport) -> bytes:
    """Draw the confusion matrix: shades are shares of the true class, numbers are clips.

    The picture grows with the number of classes, so that it stays legible with some hundreds of them.
    """
    size = len(report.classes)
    cell = 0.5 if size <= 12 else 0.3 if size <= _NUMBERED else 0.17
    font = 9 if size <= 12 else 7 if size <= _NUMBERED else 6
    side = max(3.5, cell * size + 2)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    counts = np.array(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [shortened(name, 28) for name in report.classes]
    # parse_math=False, as a lone `$` in a class name would be a syntax error.
    axes.set_xticks(range(size), labels, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(range(size), labels, fontsize=font, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(
        f"{report.num_clips} clip{'s' * (report.num_clips != 1)}, top-1 {percent(report.top1)}", fontsize=10
    )
    for true, guess in np.argwhere(counts):
        if size <= _NUMBERED or true != guess:
            colour = "white" if shares[true, guess] > 0.55 else "black"
            text = str(counts[true, guess])
            axes.text(guess, true, text, ha="center", va="center", color=colour, fontsize=font)
    if size > 12:
        axes.set_xticks(np.arange(size) - 0.5, minor=True)
        axes.set_yticks(np.arange(size) - 0.5, minor=True)
        axes.grid(which="minor", color="#dddddd", linewidth=0.3)
        axes.tick_params(which="minor", length=0)
    return _png(figure)


def reliability_png(report: EvalReport) -> bytes:
    """Draw accuracy against confidence, with calibration and, in grey, without.

    The area of a point is proportional to its number of clips: a few clips say little.
    """
    return _png(_reliability(report))


def reliability_svg(report: EvalReport) -> Markup:
    """Draw the same plot for the page."""
    return _svg(_reliability(report), "Reliability diagram: accuracy against confidence")


def _panels(epochs: Sequence[EpochReport]) -> list[tuple[str, list[float | None]]]:
    """Return titles and values. Training loss is computed with mixup and label smoothing, so it is not
    comparable with validation loss, and each gets its own axes.
    """
    panels: list[tuple[str, list[float | None]]] = [("Training loss", [e.train_loss for e in epochs])]
    if any(e.val_loss is not None for e in epochs):
        panels.append(("Validation loss", [e.val_loss for e in epochs]))
        panels.append(("Validation top-1", [e.val_top1 for e in epochs]))
    return panels


def _draw_curve(axes: Axes, epochs: Sequence[EpochReport], title: str, values: list[float | None]) -> None:
    known = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None and math.isfinite(v)]
    axes.plot([e.epoch for e, _ in known], [v for _, v in known], color=_BLUE)
    best = [(e.epoch, v) for e, v in known if e.is_best and e.val_top1 is not None][-1:]
    for epoch, value in best:
        axes.plot([epoch], [value], "o", color=_ORANGE, label=f"best: epoch {epoch}")
        axes.legend(frameon=False)
    axes.set(title=title, xlabel="epoch")
    axes.set_ylim(bottom=0, top=1.02 if "top-1" in title else None)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=_RULE)


def _reliability(report: EvalReport) -> Figure:
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    bins = calibration(report)
    for b in bins:
        axes.bar(b.low, b.accuracy, 1 / BINS, align="edge", color=_BLUE, alpha=0.2)
        axes.text(b.low + 0.5 / BINS, 0.01, str(b.num_clips), ha="center", va="bottom", size=7, color=_GREY)
    if report.temperature is not None:
        _draw_bins(axes, calibration(report, calibrated=False), "uncalibrated", _GREY, "--")
    _draw_bins(axes, bins, "calibrated", _BLUE, "-")
    axes.set(xlabel="confidence (number of clips above)", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0)
    return figure


def _draw_bins(axes: Axes, bins: Sequence[Bin], name: str, colour: str, style: str) -> None:
    confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
    label = f"{name}: ECE {calibration_error(bins):.3f}"
    total = sum(b.num_clips for b in bins)
    areas = [_LARGEST_POINT * b.num_clips / total for b in bins]
    axes.plot(confidence, accuracy, style, color=colour, linewidth=1, label=label)
    axes.scatter(confidence, accuracy, areas, color=colour, clip_on=False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    dpi = min(_DPI, _MAX_PIXELS / max(figure.get_size_inches()))
    with warnings.catch_warnings():
        # If the font lacks the script of a label, the picture shows boxes; the page has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _svg(figure: Figure, name: str) -> Markup:
    """Return a figure as inline SVG with the theme's colours.

    matplotlib writes colours as `style` attributes, which the page's Content Security Policy forbids. Here
    they become separate attributes.
    """
    buffer = io.BytesIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":
                parent.remove(child)
    for element in root.iter():
        if element.tag == f"{{{_SVG}}}g":
            element.attrib.pop("id", None)  # the same in every figure
        for declaration in element.attrib.pop("style", "").split(";"):
            key, _, value = (part.strip() for part in declaration.partition(":"))
            if key and key != "font-family":
                element.set(key, _THEME.get(value, value))
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib.update({"class": "plot", "role": "img", "aria-label": name, "width": width, "height": height})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return Markup(ElementTree.tostring(root, encoding="unicode"))
