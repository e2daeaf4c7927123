"""The folds of a cross-validation: for each fold, train on the others and score it.

Folds are independent, so they run in parallel processes. Branches are independent too, so one training
gives the scores of every subset of its streams: an ablation costs no more than its largest row.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import resource_tracker

import numpy as np
import torch

from vidlstm.config import ModelConfig, StreamName, TrainConfig
from vidlstm.data.splits import Fold
from vidlstm.engine.devices import use_threads
from vidlstm.engine.events import Diverged
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.extraction.processes.pool import num_cores
from vidlstm.engine.scoring import read_clips
from vidlstm.engine.training.auto_streams import choose_streams
from vidlstm.engine.training.baseline import score_baseline, train_baseline
from vidlstm.engine.training.films import fit_spans, score_films
from vidlstm.engine.training.loop.encoder_training import kept_pixels
from vidlstm.engine.training.loop.fusion import fit_fusion
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.evaluations import PoseChoice, Scored, ScoredFilm
from vidlstm.models.checkpoint import Model, rgb_encoder
from vidlstm.models.classifier import fuse

Streams = tuple[StreamName, ...]


@dataclass(frozen=True)
class FoldResult:
    """Scores of one fold's held-out clips.

    Args:
        fold: The fold.
        scored: Scored clips for every requested subset of streams.
        baseline: Clips as the full model's baseline scores them; None if not requested, or if there is none.
        films: Held-out films with the spans that the full model finds.
        pose: How `streams=auto` chose; None for named streams.
        diverged: Set if the training diverged; the scores are those of the best epoch before.
    """

    fold: Fold
    scored: dict[Streams, tuple[Scored, ...]]
    baseline: tuple[Scored, ...] | None = None
    films: tuple[ScoredFilm, ...] = ()
    pose: PoseChoice | None = None
    diverged: Diverged | None = None


def crossvalidate(
    config: ModelConfig,
    clips: Clips,
    folds: Sequence[Fold],
    training: TrainConfig,
    *,
    processes: int,
    subsets: Sequence[Streams] = (),
    baseline: bool = False,
) -> Iterator[FoldResult]:
    """Yield the scores of every fold, in order. A held-out fold is only scored, never trained on.

    Args:
        config: The model.
        clips: All clips of the data set.
        folds: Folds with no group in two of them.
        training: How to train.
        processes: Number of folds that run at once.
        subsets: Subsets of the streams to score; by default all streams together.
        baseline: Also train the baseline.

    Raises:
        UsageError: The training of a fold diverged in the first epoch.
    """
    work = partial(_run_fold, config, training, tuple(subsets) or (config.streams,), baseline)
    if processes <= 1 or len(folds) <= 1:
        for fold in folds:
            yield work(clips, fold)
        return
    context = multiprocessing.get_context("spawn")
    processes = min(processes, len(folds))
    given = clips, max(1, num_cores() // processes)
    pool = ProcessPoolExecutor(processes, context, initializer=_receive, initargs=given)
    try:
        with _without_interrupts():
            results = pool.map(partial(_run_received, work), folds)
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)


_received: list[Clips] = []  # the clips in a worker process: sent once, not with every fold


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C in the processes that are started here, until `_receive` allows it to end them.

    Otherwise Ctrl-C while they import their modules would print a traceback for each of them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # before blocking, as starting it unblocks the signal in this thread
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _receive(clips: Clips, threads: int) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in a background job of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the process silently
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_threads(threads)
    _received.append(clips)


def _end_with_parent() -> None:
    """End this process when the parent is killed. Idle processes of a pool keep each other's pipes open."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_received(work: partial[FoldResult], fold: Fold) -> FoldResult:
    return work(_received[0], fold)


def _run_fold(
    config: ModelConfig,
    training: TrainConfig,
    subsets: Sequence[Streams],
    baseline: bool,
    clips: Clips,
    fold: Fold,
) -> FoldResult:
    encoder = rgb_encoder(config, seed=training.seed) if config.encoder.trainable else None
    model = start_model(config, clips, encoder, training.seed)
    trainer = make_trainer(model, clips, fold.train_indices, training, encoder_training=kept_pixels(model))
    for _ in trainer.run():
        pass
    trainer.finish()
    diverged = None
    if trainer.diverged:
        diverged = Diverged(trainer.epoch, trainer.best_epoch, training.learning_rate)
    pose = choose_streams(model, trainer, clips.dataset) if training.auto_streams else None
    usable = clips.usable(fold.test_indices)
    labels = trainer.held_out_labels
    held_out = trainer.held_out_scores(trainer.views) if len(labels) else None
    clips = clips.all_encoded(model.encoder)
    features = [clips.features(i) for i in usable]
    test, novelty = None, torch.zeros(0)
    if features:
        test, novelty = read_clips(model.classifier, features, trainer.views, torch.device("cpu"))
    scored = {}
    for subset in subsets:
        kept = [i for i, spec in enumerate(model.classifier.specs) if spec.stream in subset]
        scores = np.zeros((0, len(config.classes)))
        if test is not None:
            equal = torch.full((len(kept),), 1 / len(kept)), torch.ones(()), torch.zeros(())
            fusion = equal if held_out is None else fit_fusion(held_out[kept], labels, trainer.num_held_out)
            scores = fuse(test[kept], *fusion).double().softmax(-1).numpy()
        scored[subset] = tuple(
            clips.scored(
                fold.test_indices,
                dict(zip(usable.tolist(), scores, strict=True)),
                dict(zip(usable.tolist(), novelty.tolist(), strict=True))
                if subset == config.streams
                else None,
            )
        )
    films: list[ScoredFilm] = []
    if clips.films:
        model.config = replace(model.config, spans=fit_spans(model, clips, trainer))
        films = score_films(model, clips, {clips.dataset.samples[i].path for i in fold.test_indices})
    reference = _score_baseline(model, clips, fold, training) if baseline else None
    return FoldResult(fold, scored, reference, tuple(films), pose, diverged)


def _score_baseline(
    model: Model, clips: Clips, fold: Fold, training: TrainConfig
) -> tuple[Scored, ...] | None:
    for _ in train_baseline(model, clips, fold.train_indices, training):
        pass
    scored = score_baseline(model, clips, fold.test_indices)
    return None if scored is None else tuple(scored)
