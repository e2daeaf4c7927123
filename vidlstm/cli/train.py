"""`vidlstm train DATA`: learns, and writes a run folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Exit, Voice, command
from vidlstm.cli.reports import PAGE, leave_report
from vidlstm.cli.setup import extract_dataset, find_dataset, open_extractor, show_report, tell_lengths
from vidlstm.config import to_dict
from vidlstm.records import SCHEMA, EpochReport, EvalReport

if TYPE_CHECKING:
    from vidlstm.data.samples import Side
    from vidlstm.data.splits import Split
    from vidlstm.engine.learning import Clips
    from vidlstm.engine.runs import RunFolder
    from vidlstm.engine.training import Trainer


@command
def train(
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainOptions,
    machine: options.MachineOptions,
    voice_options: options.VoiceOptions,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Run folder. Default: the next of runs/1, runs/2, ...")
    ] = None,
    as_json: options.JsonOption = False,
    allow_shared_groups: options.SharedGroupsOption = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace the run in --out.", rich_help_panel=options.OUTPUT)
    ] = False,
    cache: options.CacheOption = True,
) -> int:
    """Learn to tell the classes of DATA apart, and write a run folder with the model."""
    voice = Voice.of(voice_options)
    dataset = find_dataset(voice, data)
    config = model.configure(dataset.kind, dataset.classes)
    train_config = training.configure(config)

    from vidlstm.data.splits import make_split, write_split

    split = make_split(
        dataset, seed=training.seed, val_share=training.val_share, allow_shared_groups=allow_shared_groups
    )
    voice.say(
        f"Split: {len(split.train)} to learn from, {len(split.val)} to validate, {len(split.test)} to test."
    )
    for note in split.notes:
        voice.warn(note)

    from vidlstm.engine.learning import describe_training, make_trainer, score, start_model, train_request
    from vidlstm.engine.runs import SPLIT, RunFolder, next_run
    from vidlstm.models.checkpoint import frozen_encoder

    encoder = frozen_encoder(config)  # before the folder is made: the name may be wrong
    run = RunFolder(out or next_run(Path("runs")))
    run.create(
        {"data": str(data.data), "model": to_dict(config), "training": to_dict(train_config)},
        overwrite=overwrite,
    )
    write_split(run.path / SPLIT, dataset, split)
    started = time.monotonic()
    request = train_request(config)
    with open_extractor(request, encoder, machine, cache=cache, voice=voice) as extractor:
        clips = extract_dataset(voice, extractor, dataset)
    tell_lengths(voice, clips)
    extracted = time.monotonic()
    trained = start_model(config, clips, encoder, train_config.seed)
    trainer = make_trainer(trained, clips, split.train, train_config)
    interrupted = _run_epochs(voice, trainer, run)
    trainer.finish()
    side: Side = "test" if split.test else "val"
    report = None
    if split.side(side):
        from vidlstm.engine.evaluation import summarise

        report = summarise(dataset.classes, score(trained, clips, split.side(side)), seed=training.seed)
    seconds = {"extract": round(extracted - started, 2), "train": round(time.monotonic() - extracted, 2)}
    trained.training = describe_training(data.data, clips, split, train_config, trainer, report, seconds)
    run.write_model(trained)
    _tell_result(voice, run, trainer, report, side)
    side_text = f"the {side} side, {len(split.side(side))} clips that nothing was learned from"
    leave_report(
        voice, run.path / PAGE, report, trained, dataset, side=side_text, epochs=run.epochs, notes=split.notes
    )  # fmt: skip
    if as_json:
        print(json.dumps(_summary(run, clips, split, trainer, report, seconds)))
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.SOME_FAILED if report is not None and report.failed else Exit.DONE


def _run_epochs(voice: Voice, trainer: Trainer, run: RunFolder) -> bool:
    """Train with progress; Ctrl-C ends training and keeps the best so far. Tell whether it came."""
    try:
        with voice.bar(total=trainer.config.epochs, label="Training", unit="epoch") as bar:
            for report in trainer.run():
                run.write_epoch(report, trainer)
                bar.set_postfix_str(_epoch_line(report))
                bar.update()
                voice.detail(f"epoch {report.epoch}/{report.num_epochs}: {_epoch_line(report)}")
    except KeyboardInterrupt:
        if not trainer.best_epoch:
            raise
        voice.warn(
            f"Interrupted after epoch {trainer.epoch}: the best so far, epoch {trainer.best_epoch}, is kept."
        )
        return True
    return False


def _epoch_line(report: EpochReport) -> str:
    text = f"loss {report.train_loss:.3f}"
    if report.val_loss is not None and report.val_top1 is not None:
        text += f", val loss {report.val_loss:.3f}, val top-1 {report.val_top1:.3f}"
    return text


def _tell_result(
    voice: Voice, run: RunFolder, trainer: Trainer, report: EvalReport | None, side: str
) -> None:
    best = f"Best epoch: {trainer.best_epoch} of {trainer.epoch}."
    if report is None:
        voice.say(f"{best} Nothing was held out, so nothing is known of how good it is.")
    else:
        voice.say(f"{best} On the {side} side:")
        show_report(voice, report)
    weights = trainer.classifier.fusion.tolist()
    counts = ", ".join(
        f"{spec.name} {weight:.2f}" for spec, weight in zip(trainer.classifier.specs, weights, strict=True)
    )
    voice.say(f"How much each branch counts: {counts}.")
    voice.say(f"Run folder: {run.path}")
    voice.say(f"Next: vidlstm predict --checkpoint {run.model} CLIP_OR_FOLDER")


def _summary(
    run: RunFolder,
    clips: Clips,
    split: Split,
    trainer: Trainer,
    report: EvalReport | None,
    seconds: dict[str, float],
) -> dict[str, object]:
    val = report and {
        "top1": report.top1, "top5": report.top5,
        "mean_class_accuracy": report.mean_class_accuracy, "macro_f1": report.macro_f1,
    }  # fmt: skip
    return {
        "schema": SCHEMA,
        "run": str(run.path),
        "checkpoint": str(run.model),
        "classes": list(clips.dataset.classes),
        "num_clips": {"train": len(clips.usable(split.train)), "val": len(split.val)},
        "best_epoch": trainer.best_epoch,
        "val": val,
        "seconds": seconds,
    }
