"""Synthetic evaluations for the tests: any number of classes and clips, with awkward names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidlstm.errors import FailureCode
from vidlstm.evaluations import EvalReport, Scored, ScoredFilm
from vidlstm.media.jpeg import encode_jpeg
from vidlstm.metrics.classification import summarise
from vidlstm.metrics.films import report_spans
from vidlstm.records import EpochReport, Problem, Span
from vidlstm.report.page import pictured_clips, render
from vidlstm.report.timelines import FilmSection

ACTIONS = ("sit down", "stand up", "wave", "clap", "jump", "walk to the left")


def make_report(
    num_clips: int = 120,
    classes: Sequence[str] = ACTIONS,
    *,
    skill: float = 2.5,
    num_failed: int = 2,
    names: Sequence[str] = (),
    temperature: float | None = 1.3,
) -> EvalReport:
    """Return a report on random scores; the accuracy rises with `skill`. The first clips get `names`."""
    rng = np.random.default_rng(7)
    scored = []
    for i in range(num_clips):
        true = i % len(classes)
        logits = rng.normal(size=len(classes)) + skill * np.eye(len(classes))[true]
        scores = np.exp(logits) / np.exp(logits).sum()
        name = names[i] if i < len(names) else f"data/{classes[true]}/person{i // 10:02d}_{i:04d}.mp4"
        failed = i >= num_clips - num_failed
        problem = Problem(FailureCode.NO_FRAMES, "no frame can be decoded") if failed else None
        row = () if failed else tuple(float(s) for s in scores)
        scored.append(Scored(Path(name), classes[true], f"g{i // 10}", row, problem))
    return summarise(classes, scored, temperature=temperature)


def make_epochs(number: int = 40) -> list[EpochReport]:
    """Return a plausible course of training."""
    return [
        EpochReport(
            epoch=n,
            num_epochs=number,
            train_loss=2 * 0.93**n,
            val_loss=2 * 0.95**n + 0.2,
            val_top1=1 - 0.8 * 0.94**n,
            learning_rate=1e-3,
            seconds=0.5,
            is_best=n % 2 == 0,
        )
        for n in range(1, number + 1)
    ]


def numbered(number: int) -> list[str]:
    """Return class names."""
    return [f"Action Number {i}" for i in range(number)]


AWKWARD = (
    "<script>window.harmed = 1</script>",
    'a"><img src=x onerror="window.harmed = 1">',
    "two\nlines & a 'quote'",
    "latin \udce9t\udce9.mp4",
    "{{ 7 * 7 }}",
)
"""Unusual and hostile names of files and classes."""


def make_films(names: Sequence[str], classes: Sequence[str] = ACTIONS) -> FilmSection:
    """Return films of 100 s with a span of each class; the n-th of N films lacks the last n found spans."""
    width = 100 / len(classes)
    truth = [Span(k * width, (k + 0.8) * width, label) for k, label in enumerate(classes)]
    films = [
        ScoredFilm(name, name, 100.0, truth, [replace(s, score=0.75) for s in truth[: len(truth) - n]], ())
        for n, name in enumerate(names)
    ]
    report = report_spans(films)
    assert report is not None
    return FilmSection(report, {label: f"#{k % 256:02x}8040" for k, label in enumerate(classes)})


def make_page(
    report: EvalReport,
    *,
    curves: Sequence[EpochReport] = (),
    frame_bytes: int = 0,
    films: FilmSection | None = None,
) -> str:
    """Return the page of a report, with a thumbnail strip for every clip on it."""
    noise = np.random.default_rng(3).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    jpeg = encode_jpeg(noise, 128, 96, 20) + bytes(frame_bytes)
    return render(
        report,
        title="data on runs/1",
        facts=[("Data", "data"), ("Seed", "0")],
        thumbnails={path: [jpeg] * 6 for path in pictured_clips(report)},
        command="vidlstm eval data --report out.html",
        curves=curves,
        films=films,
    )
