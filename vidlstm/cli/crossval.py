"""`vidlstm crossval DATA`: how well would it do?"""

from __future__ import annotations

import json
from typing import Annotated

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Exit, Voice, command
from vidlstm.cli.setup import extract_dataset, find_dataset, open_extractor, show_report, tell_lengths
from vidlstm.errors import UsageError
from vidlstm.records import SCHEMA


@command
def crossval(
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainOptions,
    machine: options.MachineOptions,
    voice_options: options.VoiceOptions,
    folds: Annotated[
        str, Option(help="A number of folds that no group crosses, or group: one fold a group.")
    ] = "5",
    as_json: options.JsonOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Train on all folds of DATA but one, score that one, for each fold; report all folds pooled."""
    voice = Voice.of(voice_options)
    train_config = training.configure()
    if folds != "group" and not folds.isdecimal():
        raise UsageError(f"--folds {folds}: a number, or group, is needed")
    dataset = find_dataset(voice, data)
    config = model.configure(dataset.kind, dataset.classes)

    from vidlstm.data.splits import make_folds

    rounds = make_folds(dataset, "group" if folds == "group" else int(folds), training.seed)

    from vidlstm.engine.evaluation import summarise
    from vidlstm.engine.learning import crossvalidate, train_request
    from vidlstm.models.encoders import build_encoder

    encoder = build_encoder(config.encoder) if "rgb" in config.streams else None
    with open_extractor(train_request(config), encoder, machine, cache=cache, voice=voice) as extractor:
        clips = extract_dataset(voice, extractor, dataset)
    tell_lengths(voice, clips)
    results = list(
        voice.progress(
            crossvalidate(config, clips, rounds, train_config),
            total=len(rounds), label="Folds", unit="fold",
        )
    )  # fmt: skip
    report = summarise(dataset.classes, [s for result in results for s in result.scored], seed=training.seed)
    voice.say(f"{len(rounds)} folds, pooled over the held-out clips:")
    show_report(voice, report)
    if as_json:
        pooled = report.to_json()
        per_fold = [
            {
                "held_out": result.fold.held_out_name,
                "num_clips": len(result.scored),
                "top1": summarise(dataset.classes, result.scored).top1,
            }
            for result in results
        ]
        keys = (
            "num_clips",
            "num_failed",
            "top1",
            "top1_ci95",
            "mean_class_accuracy",
            "macro_f1",
            "majority",
            "confusion",
            "classes",
        )
        print(
            json.dumps(
                {
                    "schema": SCHEMA,
                    "num_folds": len(rounds),
                    **{k: pooled[k] for k in keys},
                    "per_fold": per_fold,
                }
            )
        )
    return Exit.SOME_FAILED if report.failed else Exit.DONE
