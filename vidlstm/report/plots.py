"""Training curves, confusion matrix and reliability diagram as PNG, for papers and for a quick look.

Each function returns the bytes of a file. No pyplot: nothing global is touched, no window can open.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vidlstm.metrics.classification import BINS, Bin, calibration, calibration_error
from vidlstm.records import EpochReport, EvalReport
from vidlstm.report.text import percent, shortened

_DPI = 150
_BLUE, _ORANGE, _GREY = "#1c5fb0", "#c2500a", "#767676"
_NUMBERED = 40  # classes up to which every cell has its number


def draw_curves(epochs: Sequence[EpochReport]) -> bytes:
    """Draw the losses, and the validation's top-1, over the epochs.

    Args:
        epochs: At least one.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    numbers = [e.epoch for e in epochs]
    losses.plot(numbers, [e.train_loss for e in epochs], color=_GREY, linestyle="--", label="training")
    validated = [e for e in epochs if e.val_loss is not None and e.val_top1 is not None]
    at = [e.epoch for e in validated]
    losses.plot(at, [e.val_loss for e in validated], color=_BLUE, label="validation")
    losses.set(title="Loss", xlabel="epoch")
    losses.set_ylim(bottom=0)
    losses.legend()
    accuracy.plot(at, [e.val_top1 for e in validated], color=_BLUE)
    accuracy.set(title="Top-1 on validation", xlabel="epoch", ylim=(0, 1.02))
    best = [e for e in validated if e.is_best][-1:]
    for epoch in best:
        accuracy.plot([epoch.epoch], [epoch.val_top1], "o", color=_ORANGE, label=f"best: epoch {epoch.epoch}")
        accuracy.legend(loc="lower right")
    for axes in (losses, accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return _png(figure)


def draw_confusion(report: EvalReport) -> bytes:
    """Draw the confusion matrix: shares of each true class as shades, and numbers of clips.

    Legible from 2 to some hundred classes: the picture grows with them.
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
    # Labels are no mathematics: a lone `$` would be a syntax error.
    axes.set_xticks(range(size), labels, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(range(size), labels, fontsize=font, parse_math=False)
    axes.set(xlabel="recognised as", ylabel="true class")
    axes.set_title(f"{report.num_clips} clips, top-1 {percent(report.top1)}", fontsize=10)
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


def draw_reliability(report: EvalReport) -> bytes:
    """Draw how often the model is right against how sure it is; faint beside it, before calibration."""
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    if report.temperature is not None:
        _draw_bins(axes, calibration(report, temperature=report.temperature), "before calibration", _GREY)
    bins = calibration(report)
    _draw_bins(axes, bins, "calibrated", _BLUE)
    for b in bins:
        axes.bar(b.low, b.accuracy, 1 / BINS, align="edge", color=_BLUE, alpha=0.2)
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def _draw_bins(axes: Axes, bins: Sequence[Bin], name: str, colour: str) -> None:
    error = f"ECE {calibration_error(bins):.3f}"
    confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
    axes.plot(confidence, accuracy, "o-", color=colour, markersize=4, label=f"{name}: {error}".strip(": "))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The font lacks a label's script: boxes stand for it in the picture; the page has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
