"""One training from start to end: find, split, extract, train, score, save.

`train` yields events (see `vidlstm.engine.events`) and prints nothing. Under torchrun several processes
train one model: each runs the same session, and rank 0 writes the files.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from vidlstm.data.layouts.folders import Subset
from vidlstm.data.splits import make_folds
from vidlstm.engine.devices import choose_device
from vidlstm.engine.distributed import World, process_group
from vidlstm.engine.events import (
    BaselineInterrupted,
    BaselineTrained,
    Diverged,
    EpochEnded,
    Event,
    Interrupted,
    NotCalibrated,
    PoseCompared,
    Progress,
    Resumed,
    Saved,
    StartKept,
    UnknownOff,
)
from vidlstm.engine.extraction.clips import Clips, extract_clips
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.reporting import PAGE, PREDICTIONS, write_predictions, write_report
from vidlstm.engine.training.auto_streams import choose_streams
from vidlstm.engine.training.baseline import score_with_baseline, train_baseline
from vidlstm.engine.training.facts import describe_training
from vidlstm.engine.training.films import fit_spans, score_films
from vidlstm.engine.training.int8 import compare_in_int8, labels_in_int8
from vidlstm.engine.training.loop.encoder_training import (
    EncoderTraining,
    from_files,
    kept_pixels,
    start_from,
)
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.training.plan import Plan, TrainRequest, make_plan
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.engine.training.result import StartingRun, TrainResult
from vidlstm.engine.training.run_folder import MODEL, RunFolder, claim_run
from vidlstm.engine.training.tensorboard import EventLog
from vidlstm.errors import CheckpointError, DataError, UsageError
from vidlstm.evaluations import EvalReport, PoseChoice, SpanReport
from vidlstm.metrics.films import report_spans
from vidlstm.models.backends.protocol import supported_precision
from vidlstm.models.backends.torch import has_bfloat16
from vidlstm.models.checkpoint import Model, load_model, rgb_encoder
from vidlstm.models.encoders import Encoder


def train(request: TrainRequest) -> Generator[Event | TrainResult, None, None]:
    """Train a model and write its run folder.

    Ctrl-C (KeyboardInterrupt, also thrown into the generator) ends training and keeps the best epoch so far.

    Yields:
        Events and, on rank 0, the result as the last one.

    Raises:
        VidlstmError: The data, the settings or a file cannot be used.
    """
    plan = yield from make_plan(request)
    world = World.from_environment()
    device = choose_device(request.machine.device, world.local_rank, world.local_size)
    with process_group(device) as world:
        yield from _Session(request, plan, world).run()


class _Session:
    """A planned training."""

    def __init__(self, request: TrainRequest, plan: Plan, world: World) -> None:
        self.request = request
        self.plan = plan
        self.world = world
        self.config = plan.settings.model
        self.training = plan.settings.training
        self.reads_files = self.config.encoder.trainable and not self.config.encoder.keeps_pixels
        """Whether the encoder is trained on pixels that are read again in every epoch."""
        self.pose: PoseChoice | None = None

    def run(self) -> Generator[Event | TrainResult, None, None]:
        """Train, score and save."""
        # Before the folder is created, as any of these files may be missing.
        start = None if self.plan.start is None else load_model(self.plan.start / MODEL, baseline=True)
        model = None if start is None else start_from(start, self.config)
        encoder = rgb_encoder(self.config, seed=self.training.seed) if model is None else model.encoder
        run, state = self._open_run()
        try:
            yield from self._train(run, state, start, model, encoder)
        except KeyboardInterrupt:
            yield self._interrupted(run)
            raise

    def _interrupted(self, run: RunFolder, best_epoch: int | None = None) -> Interrupted:
        epoch = run.epochs[-1].epoch if run.epochs else 0
        return Interrupted(self.request.data.data, run.path, epoch, best_epoch, run.holds_earlier)

    def _train(
        self,
        run: RunFolder,
        state: dict[str, Any] | None,
        start: Model | None,
        model: Model | None,
        encoder: Encoder | None,
    ) -> Generator[Event | TrainResult, None, None]:
        """Train in a run folder; arguments as in `run`."""
        began = time.monotonic()
        extracted_by = None if self.config.encoder.keeps_pixels else encoder
        clips = yield from self._extract(extracted_by, self.world)
        yield clips.summary()
        extracted = time.monotonic()
        model = model or start_model(self.config, clips, encoder, self.training.seed)
        model.pose = self.plan.pose
        with self._trainer(model, clips, start, state) as trainer:
            if not trainer.num_held_out:
                samples = (self.plan.dataset.samples[i] for i in self.plan.split.train)
                yield NotCalibrated(any(s.group not in self.plan.new_groups for s in samples))
            elif without := sum(not len(part.val) for part in trainer.parts):
                yield UnknownOff(without, len(trainer.parts))
            if state is not None:
                self._restore(run, trainer, state)
                yield Resumed(trainer.epoch, trainer.config.epochs, trainer.is_over)
            interrupted = yield from self._run_epochs(run, trainer)
            trainer.finish()
            if self.training.auto_streams:
                self.pose = choose_streams(model, trainer, self.plan.dataset)
                yield PoseCompared(self.pose)
        model.classifier.cpu()  # as in `predict`, so that the report has the same scores
        if not self.world.is_main:
            return
        if start is not None and self.plan.start is not None and trainer.best_epoch == 0:
            yield StartKept(self.plan.start)
            model = start
        else:
            if self.reads_files:
                clips = yield from self._extract(model.encoder)
            clips = clips.all_encoded(model.encoder)
            if not interrupted:
                interrupted = yield from self._train_baseline(model, clips, trainer)
        model.config = replace(model.config, spans=fit_spans(model, clips, trainer))
        seconds = {"extract": round(extracted - began, 2), "train": round(time.monotonic() - extracted, 2)}
        held_out = {clips.dataset.samples[i].path for i in self.plan.split.subset(self.subset)}
        spans = report_spans(score_films(model, clips, held_out), seed=self.training.seed)
        report = yield from self._save(run, model, clips, trainer, spans)
        if report is not None and not interrupted and labels_in_int8(model, self.request.machine):
            interrupted = yield from compare_in_int8(run, model)
        yield TrainResult(
            run=run.path,
            checkpoint=run.model,
            kind=self.config.kind,
            classes=clips.dataset.classes,
            num_train=len(clips.usable(self.plan.split.train)),
            num_held_out=len(self.plan.split.subset(self.subset)),
            num_unreadable=sum(clip.features is None for clip in clips.extracted),
            subset=self.subset,
            epochs=tuple(run.epochs),
            num_epochs=trainer.epoch,
            best_epoch=trainer.best_epoch,
            report=report,
            branches=model.classifier.branch_weights(),
            start=None if start is None or model is start else StartingRun.of(self.plan, start),
            notes=self.plan.split.notes,
            page=None if report is None else run.path / PAGE,
            seconds=seconds,
            interrupted=interrupted,
            on_films=bool(clips.films),
            spans=spans,
            pose=self.pose,
            folds=self._folds(),
        )

    def _folds(self) -> Literal[5, "group"] | None:
        """Return the folds of a cross-validation that trains as this run did; None if there are none."""
        if self.plan.start is not None or self.reads_files or self.request.output.resume is not None:
            return None  # its command would not have the options of this model
        possible: tuple[Literal[5, "group"], ...] = (5, "group")
        for folds in possible:
            with contextlib.suppress(UsageError, DataError):
                make_folds(self.plan.dataset, folds, self.training.seed)
                return folds
        return None

    @property
    def subset(self) -> Subset:
        """The subset that is held out to score the model."""
        return "test" if self.plan.split.test else "val"

    def _open_run(self) -> tuple[RunFolder, dict[str, Any] | None]:
        """Return the run folder and, if the run is resumed, the state of its trainer."""
        output, plan, world = self.request.output, self.plan, self.world
        if any(rows != plan.rows for rows in world.gather([plan.rows])):
            raise DataError(f"{plan.dataset.root}: the processes find different clips there")
        path = output.resume or output.out
        if path is None and world.is_main:
            path = claim_run(Path("runs"))
        run = RunFolder(world.broadcast(path or Path("runs")))
        state = None
        if world.is_main and output.resume is None:
            run.create(plan.settings, plan.rows, overwrite=output.overwrite)
        elif world.is_main:
            state = run.reopen(plan.settings, plan.rows, allow_changes=output.allow_changes)
        return run, world.broadcast(state)

    def _extract(self, encoder: Encoder | None, world: World | None = None) -> Generator[Event, None, Clips]:
        """Extract every clip: features of the encoder or, without one, pixels."""
        wanted = ReadRequest.for_training(self.config, write_networks(self.plan.pose))
        machine, cache = self.request.machine, self.request.cache
        with open_extractor(wanted, encoder, machine, cache=cache, world=world) as extractor:
            return (yield from extract_clips(extractor, self.plan.dataset, world))

    @contextlib.contextmanager
    def _trainer(
        self, model: Model, clips: Clips, start: Model | None, state: dict[str, Any] | None
    ) -> Iterator[Trainer]:
        """Return the model's trainer; if the encoder is trained, with processes that read pixels."""
        with contextlib.ExitStack() as stack:
            if self.config.encoder.trainable:
                machine, world = self.request.machine, self.world
                model.modules().to(choose_device(machine.device, world.local_rank, world.local_size))
            encoder_training = kept_pixels(model)
            if self.reads_files:
                encoder_training = self._from_files(stack, model, clips, warm_start=start is not None)
            yield make_trainer(
                model,
                clips,
                self.plan.split.train,
                self.training,
                encoder_training=encoder_training,
                divided_by=None if start is None else start.config.members,
                left_out=self.plan.left_out if state is None else state["left_out"],
                learned=self.plan.learned if state is None else state["learned"],
                new_groups=self.plan.new_groups,
                world=self.world,
            )

    def _from_files(
        self, stack: contextlib.ExitStack, model: Model, clips: Clips, *, warm_start: bool
    ) -> EncoderTraining:
        machine, device = self.request.machine, model.classifier.fusion.device
        request = ReadRequest.for_pixels(self.config)
        pixels = stack.enter_context(open_extractor(request, None, machine, cache=False, world=self.world))
        requested = machine.precision or ("bfloat16" if device.type == "cuda" else "float32")
        precision = supported_precision(requested, partial(has_bfloat16, device))
        return from_files(model, pixels, clips, warm_start=warm_start, bfloat16=precision == "bfloat16")

    @staticmethod
    def _restore(run: RunFolder, trainer: Trainer, state: dict[str, Any]) -> None:
        try:
            trainer.restore(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{run.path}: the network's shapes have changed, so the run cannot be resumed; "
                "undo the change of classes, streams, encoder or head, or start a new run"
            ) from error

    def _run_epochs(self, run: RunFolder, trainer: Trainer) -> Generator[Event, None, bool]:
        """Train; Ctrl-C ends training and keeps the best epoch so far.

        Returns:
            Whether it was interrupted.

        Raises:
            UsageError: The GPU has too little memory.
        """
        total = trainer.config.epochs
        report = None
        try:
            with contextlib.ExitStack() as stack:
                log = None
                if self.request.output.tensorboard and self.world.is_main:
                    log = stack.enter_context(contextlib.closing(EventLog(run.path, run.epochs)))
                yield Progress("training", trainer.epoch, total)
                for report in trainer.run():
                    if log is not None:
                        log.write(report)
                    if self.world.is_main and not trainer.diverged:  # resuming after divergence is useless
                        run.write_epoch(report, trainer, self.plan.dataset)
                    yield EpochEnded(report)
        except KeyboardInterrupt:
            is_alone = self.world.size == 1  # other ranks are interrupted at other points
            written = run.epochs[-1].epoch if run.epochs else 0
            usable = None if trainer.diverged else report
            if is_alone and usable is not None and written < usable.epoch == trainer.epoch:
                run.write_epoch(usable, trainer, self.plan.dataset)  # writing it was interrupted
            kept = bool(run.epochs) and is_alone
            if not kept:
                raise
            if trainer.epoch > run.epochs[-1].epoch and (state := run.last_state()) is not None:
                self._restore(run, trainer, state)  # as before the epoch that was interrupted
            yield self._interrupted(run, trainer.best_epoch)
            return True
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"the GPU has not enough memory for steps of {trainer.config.batch_size} clips; add "
                "`checkpointing=True`, or try a larger `accumulate` or a smaller `batch_size`"
            ) from error
        if trainer.diverged and trainer.has_best:
            yield Diverged(trainer.epoch, trainer.best_epoch, trainer.config.learning_rate)
        return False

    def _train_baseline(self, model: Model, clips: Clips, trainer: Trainer) -> Generator[Event, None, bool]:
        """Train the baseline; Ctrl-C leaves it out. Return whether it was interrupted."""
        epoch = 0
        try:
            train = self.plan.split.train
            for report in train_baseline(model, clips, train, self.training, trainer.parts):
                epoch = report.epoch
                yield Progress("baseline", epoch, report.num_epochs)
        except KeyboardInterrupt:
            yield BaselineInterrupted()
            return True
        if model.baseline is not None:
            yield BaselineTrained(epoch)
        return False

    def _save(
        self, run: RunFolder, model: Model, clips: Clips, trainer: Trainer, spans: SpanReport | None
    ) -> Generator[Event, None, EvalReport | None]:
        """Score the model on the held-out clips; write the model and the report."""
        plan, scored = self.plan, self.plan.split.subset(self.subset)
        report = score_with_baseline(model, clips, scored, seed=self.training.seed) if scored else None
        model.training = describe_training(
            model, plan.settings, clips, plan.split, plan.prints, trainer, report, plan.learned_before
        )
        if self.pose is not None:
            model.training["pose"] = self.pose.to_json()
        run.write_model(model)
        yield Saved(run.path, run.model)
        if report is None:
            (run.path / PREDICTIONS).unlink(missing_ok=True)
        else:
            parts = [self.subset] * report.num_clips
            write_predictions(run.path / PREDICTIONS, report, column="split", parts=parts)
        write_report(
            run.path / PAGE,
            report,
            model.config,
            plan.dataset,
            subset=f"{len(scored)} held-out clips, which the model was not trained on",
            training=model.training,
            epochs=run.epochs,
            notes=plan.split.notes,
            command=self.request.command,
            networks=write_networks(plan.pose),
            spans=spans,
        )
        return report
