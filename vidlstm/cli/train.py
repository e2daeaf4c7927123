"""`vidlstm train DATA`: learns, and writes a run folder.

Started by torchrun, several processes train one model: every one finds the same clips and settings,
the leader alone writes files and speaks.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command
from vidlstm.cli.reports import PAGE, leave_report
from vidlstm.cli.setup import extract_dataset, find_dataset, open_extractor, show_report, tell_lengths
from vidlstm.config import TrainConfig
from vidlstm.engine.training.tensorboard import EventLog, require_tensorboard
from vidlstm.errors import CheckpointError, DataError, UsageError
from vidlstm.records import SCHEMA, EpochReport, EvalReport

if TYPE_CHECKING:
    from vidlstm.data.layouts.folders import Subset
    from vidlstm.data.samples import Dataset
    from vidlstm.data.split_table import SplitRow
    from vidlstm.data.splits import Split
    from vidlstm.engine.distributed import World
    from vidlstm.engine.extraction.extractor import Extractor
    from vidlstm.engine.training.learning import Clips
    from vidlstm.engine.training.run_folder import RunFolder, RunSettings
    from vidlstm.engine.training.trainer import Trainer
    from vidlstm.models.checkpoint import Model
    from vidlstm.models.encoders import Encoder


EXAMPLES = (
    "vidlstm train clips/",
    "vidlstm train labels.csv --group-column person --out runs/first",
    "vidlstm train --resume runs/first",
)


@dataclass(frozen=True)
class RunOptions:
    """Which run folder, and what happens to a run that is there."""

    out: Annotated[Path | None, Option("--out", "-o", help="Run folder.", show_default="the next runs/N")] = (
        None
    )
    resume: Annotated[Path | None, Option(help="Continue the run in this folder.")] = None
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace the run in --out.", rich_help_panel=options.OUTPUT)
    ] = False
    allow_changes: Annotated[
        bool,
        Option(
            "--allow-changes",
            help="Resume although data or options have changed.",
            rich_help_panel=options.TRAINING,
        ),
    ] = False
    tensorboard: Annotated[
        bool,
        Option("--tensorboard", help="Write TensorBoard events as well.", rich_help_panel=options.TRAINING),
    ] = False

    def __post_init__(self) -> None:
        if self.tensorboard:
            require_tensorboard()
        if self.resume is None and self.allow_changes:
            raise UsageError("--allow-changes belongs to --resume RUN")
        if self.resume is not None and (self.overwrite or self.out not in (None, self.resume)):
            raise UsageError("--resume RUN goes on in RUN itself: leave --out and --overwrite out")


@dataclass(frozen=True)
class Plan:
    """What is to be trained on what."""

    dataset: Dataset
    settings: RunSettings
    split: Split
    prints: list[str]  # of every sample's content
    rows: dict[str, SplitRow]
    start: Path | None  # the run that fine-tuning starts from


@command
def train(
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainOptions,
    tuning: options.FineTuneOptions,
    machine: options.MachineOptions,
    run_options: RunOptions,
    console_options: options.ConsoleOptions,
    as_json: options.JsonOption = False,
    allow_shared_groups: options.SharedGroupsOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Train a model on DATA and write a run folder."""
    from vidlstm.engine.distributed import World, process_group

    console = Console.of(console_options) if World.from_environment().is_main else Console.silent()
    plan = _make_plan(console, data, model, training, tuning, run_options, allow_shared_groups)

    from vidlstm.engine.devices import choose_device

    with process_group(choose_device(machine.device, World.from_environment().local_rank)) as world:
        return _train(
            console, world, plan, machine, run_options, cache=cache, as_json=as_json and world.is_main
        )


def _make_plan(
    console: Console,
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainOptions,
    tuning: options.FineTuneOptions,
    run_options: RunOptions,
    allow_shared_groups: bool,
) -> Plan:
    """Settle what is trained on what; an option that is not given is that of the earlier run, if any."""
    earlier, start = _earlier(run_options, tuning)
    sources = {} if earlier is None else earlier.sources
    val_share = training.val_share if training.val_share is not None else sources.get("val_share")
    allow_shared_groups = allow_shared_groups or bool(sources.get("allow_shared_groups"))
    data = data.over(sources)
    dataset = find_dataset(console, data)
    config = model.configure(dataset.kind, dataset.classes, None if earlier is None else earlier.model)
    config = tuning.configure(config, model.members)
    if run_options.resume is not None and earlier is not None:
        train_config = training.configure(config, earlier.training)
    else:
        suits = TrainConfig.default(config)
        train_config = training.configure(
            config, suits if earlier is None else replace(suits, seed=earlier.training.seed)
        )
    train_config = tuning.over(train_config)

    from vidlstm.data.fingerprints import fingerprints
    from vidlstm.data.split_table import split_rows
    from vidlstm.data.splits import make_split
    from vidlstm.engine.training.run_folder import RunSettings

    split = make_split(
        dataset, seed=train_config.seed, val_share=val_share, allow_shared_groups=allow_shared_groups
    )
    console.say(
        f"Split: {len(split.train)} to learn from, {len(split.val)} to validate, {len(split.test)} to test."
    )
    for note in split.notes:
        console.warn(note)
    sources = {
        **data.sources(),
        "val_share": val_share,
        "allow_shared_groups": allow_shared_groups,
        "from": None if start is None else str(start),
    }
    settings = RunSettings(str(data.data), sources, config, train_config)
    prints = fingerprints(s.path for s in dataset.samples)
    return Plan(dataset, settings, split, prints, split_rows(dataset, split, prints), start)


def _earlier(
    run_options: RunOptions, tuning: options.FineTuneOptions
) -> tuple[RunSettings | None, Path | None]:
    """Return the settings of the run that is resumed or started from, and the latter's folder."""
    if run_options.resume is None and tuning.start is None:
        return None, None

    from vidlstm.engine.training.run_folder import RunFolder

    if run_options.resume is not None:
        settings = RunFolder(run_options.resume).settings()
        began = settings.sources.get("from")
        return settings, tuning.start or (None if began is None else Path(began))
    assert tuning.start is not None
    if tuning.unfreeze in (None, "0"):
        raise UsageError("--from RUN goes on with the encoder: say how much of it with --unfreeze N or all")
    if not tuning.start.is_dir():
        raise UsageError(f"--from {tuning.start}: is no folder of a run")
    return RunFolder(tuning.start).settings(), tuning.start


def _train(
    console: Console,
    world: World,
    plan: Plan,
    machine: options.MachineOptions,
    run_options: RunOptions,
    *,
    cache: bool,
    as_json: bool,
) -> int:
    from vidlstm.engine.training.baseline import score_with_baseline
    from vidlstm.engine.training.learning import describe_training, start_from, train_request
    from vidlstm.engine.training.run_folder import MODEL
    from vidlstm.models.checkpoint import load_model, rgb_encoder

    dataset, split, config = plan.dataset, plan.split, plan.settings.model
    seed = plan.settings.training.seed
    # Before the folder is made, as any of this may turn out not to be there.
    earlier = None if plan.start is None else load_model(plan.start / MODEL, baseline=True)
    begun = None if earlier is None else start_from(earlier, config)
    encoder = rgb_encoder(config, seed=seed) if begun is None else begun.encoder
    run, state = _open_run(world, plan, run_options)
    opened = partial(open_extractor, machine=machine, console=console, world=world)
    started = time.monotonic()
    with opened(train_request(config), None if config.encoder.small else encoder, cache=cache) as extractor:
        clips = extract_dataset(console, extractor, dataset, world)
    tell_lengths(console, clips)
    extracted = time.monotonic()
    with contextlib.ExitStack() as stack:
        model, trainer = _prepare(stack, world, plan, machine, clips, encoder, begun, earlier, opened)
        if state is not None:
            _restore(run, trainer, state)
            console.say(f"Resumed after epoch {trainer.epoch} of {trainer.config.epochs}.")
        events = None
        if run_options.tensorboard and world.is_main:
            events = stack.enter_context(contextlib.closing(EventLog(run.path, run.epochs)))
        interrupted = _run_epochs(console, trainer, run, events)
        trainer.finish()
    if not world.is_main:
        return Exit.INTERRUPTED if interrupted else Exit.DONE
    if earlier is not None and trainer.best_epoch == 0:
        console.warn(f"Fine-tuning made nothing better: the model is that of {plan.start}, as it was.")
        model = earlier
    else:
        if config.encoder.learns and not config.encoder.small:
            with opened(train_request(config), model.encoder, cache=cache) as extractor:
                clips = extract_dataset(console, extractor, dataset)
        clips = clips.all_encoded(model.encoder)
        if not interrupted:
            interrupted = _train_baseline(console, model, clips, split, plan.settings.training)
    subset: Subset = "test" if split.test else "val"
    scored = split.subset(subset)
    report = score_with_baseline(model, clips, scored, seed=seed) if scored else None
    seconds = {"extract": round(extracted - started, 2), "train": round(time.monotonic() - extracted, 2)}
    model.training = describe_training(
        model, plan.settings.data, plan.settings.training, clips, split, plan.prints, trainer, report
    )
    run.write_model(model)
    _tell_result(console, run, model, trainer, report, subset)
    if earlier is not None and report is not None and model is not earlier:
        _tell_start(console, plan, earlier, report)
    side_text = f"the {subset} subset, {len(scored)} clips that nothing was learned from"
    leave_report(
        console, run.path / PAGE, report, model, dataset, subset=side_text,
        epochs=run.epochs, notes=split.notes
    )  # fmt: skip
    if as_json:
        print(json.dumps(_summary(run, clips, split, trainer, report, seconds)))
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.SOME_FAILED if report is not None and report.failed else Exit.DONE


def _prepare(
    stack: contextlib.ExitStack,
    world: World,
    plan: Plan,
    machine: options.MachineOptions,
    clips: Clips,
    encoder: Encoder | None,
    begun: Model | None,
    earlier: Model | None,
    opened: Callable[..., contextlib.AbstractContextManager[Extractor]],
) -> tuple[Model, Trainer]:
    """Return the model that is to be trained and who trains it, with readers of pixels if need be."""
    from vidlstm.engine.devices import choose_device
    from vidlstm.engine.training.learning import (
        from_files,
        kept_pixels,
        make_trainer,
        pixel_request,
        start_model,
    )

    config, training = plan.settings.model, plan.settings.training
    model = begun or start_model(config, clips, encoder, training.seed)
    learning = kept_pixels(model)
    if config.encoder.learns and not config.encoder.small:
        device = choose_device(machine.device, world.local_rank)
        model.modules().to(device)
        pixels = stack.enter_context(opened(pixel_request(config), None, cache=False))
        half = (machine.precision or ("bfloat16" if device.type == "cuda" else "float32")) == "bfloat16"
        learning = from_files(model, pixels, clips, has_learned=begun is not None, bfloat16=half)
    divided_by = None if earlier is None else earlier.config.members
    trainer = make_trainer(
        model, clips, plan.split.train, training, learning=learning, divided_by=divided_by, world=world
    )
    return model, trainer


def _open_run(world: World, plan: Plan, run_options: RunOptions) -> tuple[RunFolder, dict[str, Any] | None]:
    """Return the run's folder and, if it is resumed, the state of its trainer."""
    from vidlstm.engine.training.run_folder import RunFolder, next_run

    path = world.broadcast(run_options.resume or run_options.out or next_run(Path("runs")))
    run = RunFolder(path)
    state = None
    if world.is_main and run_options.resume is None:
        run.create(plan.settings, plan.rows, overwrite=run_options.overwrite)
    elif world.is_main:
        state = run.reopen(plan.settings, plan.rows, allow_changes=run_options.allow_changes)
    found = world.gather([plan.rows])
    if any(rows != found[0] for rows in found):
        raise DataError(f"{plan.dataset.root}: the processes do not find the same clips there")
    return run, world.broadcast(state)


def _restore(run: RunFolder, trainer: Trainer, state: dict[str, Any]) -> None:
    try:
        trainer.restore(state)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{run.path}: the network of this run has other shapes now, so it cannot be gone on with; "
            "undo the change of classes, streams, encoder or head, or start another run"
        ) from error


def _run_epochs(console: Console, trainer: Trainer, run: RunFolder, events: EventLog | None) -> bool:
    """Train with progress; Ctrl-C ends training and keeps the best so far. Tell whether it came.

    Raises:
        UsageError: There is no best so far, as the first epoch diverged.
    """
    world, total = trainer.world, trainer.config.epochs
    try:
        with console.bar(total=total, label="Training", unit="epoch") as bar:
            bar.update(trainer.epoch)
            for report in trainer.run():
                if events is not None:
                    events.write(report)
                if world.is_main and not trainer.diverged:  # nobody would want to go on from there
                    run.write_epoch(report, trainer)
                bar.set_postfix_str(_epoch_line(report))
                bar.update()
                console.detail(f"epoch {report.epoch}/{report.num_epochs}: {_epoch_line(report)}")
    except KeyboardInterrupt:
        if not run.epochs or world.size > 1:  # the others of a world are interrupted somewhere else
            console.warn(f"To go on: --resume {run.path}")
            raise
        console.warn(
            f"Interrupted after epoch {trainer.epoch}: the best so far, epoch {trainer.best_epoch}, is kept. "
            f"To go on: --resume {run.path}"
        )
        return True
    if trainer.diverged:
        advice = (
            f"training diverged: the loss is no number any more in epoch {trainer.epoch}; "
            f"a lower --lr than {trainer.config.learning_rate:g} helps"
        )
        if not trainer.has_best:
            raise UsageError(advice)
        console.warn(
            f"{advice[0].upper()}{advice[1:]}. The best so far, epoch {trainer.best_epoch}, is kept."
        )
    return False


def _train_baseline(console: Console, model: Model, clips: Clips, split: Split, config: TrainConfig) -> bool:
    """Train what the model has to beat; Ctrl-C leaves that out. Tell whether it came."""
    from vidlstm.engine.training.baseline import baseline_trainer

    try:
        baseline = baseline_trainer(model, clips, split.train, config)
        if baseline is None:
            return False
        for _ in console.progress(
            baseline.run(), total=baseline.config.epochs, label="Baseline", unit="epoch"
        ):
            pass
    except KeyboardInterrupt:
        console.warn("Interrupted: the baseline `mean`, which knows no order, is left out.")
        return True
    if baseline.has_best:
        baseline.finish()
        model.baseline = baseline.classifier
    return False


def _epoch_line(report: EpochReport) -> str:
    text = f"loss {report.train_loss:.3f}"
    if report.val_loss is not None and report.val_top1 is not None:
        text += f", val loss {report.val_loss:.3f}, val top-1 {report.val_top1:.3f}"
    return text


def _tell_result(
    console: Console, run: RunFolder, model: Model, trainer: Trainer, report: EvalReport | None, subset: str
) -> None:
    best = f"Best epoch: {trainer.best_epoch} of {trainer.epoch}."
    if report is None:
        console.say(f"{best} Nothing was held out, so nothing is known of how good it is.")
    else:
        console.say(f"{best} On the {subset} subset:")
        show_report(console, report)
    weights = model.classifier.fusion.tolist()
    counts = ", ".join(
        f"{spec.name} {weight:.2f}" for spec, weight in zip(model.classifier.specs, weights, strict=True)
    )
    console.say(f"How much each branch counts: {counts}.")
    console.say(f"Run folder: {run.path}")
    console.say(f"Next: vidlstm predict --checkpoint {run.model} CLIP_OR_FOLDER")


def _tell_start(console: Console, plan: Plan, earlier: Model, report: EvalReport) -> None:
    """Say what the run that fine-tuning started from gave on the same clips, where they are the same."""
    from vidlstm.data.split_table import read_split_rows
    from vidlstm.engine.training.run_folder import SPLIT

    before = earlier.training.get("top1")
    assert plan.start is not None
    if before is None or read_split_rows(plan.start / SPLIT) != plan.rows:
        return
    text = f"The run that it started from, {plan.start}, gave {before:.3f} on the same clips"
    if report.top1 < before:
        console.warn(f"{text}, which is better: keep that one.")
    else:
        console.say(f"{text}.")


def _summary(
    run: RunFolder,
    clips: Clips,
    split: Split,
    trainer: Trainer,
    report: EvalReport | None,
    seconds: dict[str, float],
) -> dict[str, object]:
    from vidlstm.report.findings import cautions

    val = report and {
        "top1": report.top1, "top5": report.top5,
        "mean_class_accuracy": report.mean_class_accuracy, "macro_f1": report.macro_f1,
        "ece": report.ece, "ece_uncalibrated": report.ece_uncalibrated, "baselines": report.baselines,
    }  # fmt: skip
    return {
        "schema": SCHEMA,
        "run": str(run.path),
        "checkpoint": str(run.model),
        "classes": list(clips.dataset.classes),
        "num_clips": {"train": len(clips.usable(split.train)), "val": len(split.val)},
        "best_epoch": trainer.best_epoch,
        "val": val,
        "cautions": [*split.notes, *(cautions(report) if report else ())],
        "seconds": seconds,
    }
