"""`vidlstm crossval DATA`: how well would it do?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command
from vidlstm.cli.setup import extract_dataset, find_dataset, open_extractor, show_report, tell_lengths
from vidlstm.config import HeadKind, ModelConfig, TrainConfig
from vidlstm.errors import UsageError
from vidlstm.records import SCHEMA, EvalReport, Scored

if TYPE_CHECKING:
    from vidlstm.data.splits import Fold
    from vidlstm.engine.evaluation.crossval import FoldResult, Streams
    from vidlstm.engine.training.learning import Clips


EXAMPLES = (
    "vidlstm crossval clips/",
    "vidlstm crossval labels.csv --folds group --repeat 3",
)


@command
def crossval(
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainOptions,
    machine: options.MachineOptions,
    console_options: options.ConsoleOptions,
    folds: Annotated[
        str,
        Option(
            help="Number of folds; or group: one fold per group; or split: the train and test sets of DATA."
        ),
    ] = "5",
    ablation: Annotated[
        bool, Option("--ablation", help="Compare streams and heads, including the baseline.")
    ] = False,
    repeat: Annotated[int, Option(min=1, help="Repeat with N consecutive seeds, starting at --seed.")] = 1,
    as_json: options.JsonOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Estimate accuracy by cross-validation: train on all folds but one, score that one."""
    console = Console.of(console_options)
    if folds not in ("group", "split") and not folds.isdecimal():
        raise UsageError(f"--folds {folds}: a number, group or split is needed")
    dataset = find_dataset(console, data)
    config = model.configure(dataset.kind, dataset.classes)
    train_config = training.configure(config)

    from vidlstm.data.splits import given_fold, make_folds

    rounds: tuple[Fold, ...]
    if folds == "split":
        rounds = (given_fold(dataset),)
    else:
        rounds = make_folds(dataset, "group" if folds == "group" else int(folds), train_config.seed)

    from vidlstm.engine.evaluation.crossval import ablation as trainings
    from vidlstm.engine.evaluation.crossval import stream_subsets
    from vidlstm.engine.training.learning import train_request
    from vidlstm.models.checkpoint import baseline_config, rgb_encoder

    encoder = None if config.encoder.small else rgb_encoder(config, seed=train_config.seed)
    with open_extractor(train_request(config), encoder, machine, cache=cache, console=console) as extractor:
        clips = extract_dataset(console, extractor, dataset)
    tell_lengths(console, clips)
    rows: list[dict[str, Any]] = []
    baseline: list[Scored] | None = None
    variants = trainings(config) if ablation else [config]
    for variant in variants:
        subsets = stream_subsets(variant.streams) if ablation else [variant.streams]
        runs = []
        for number in range(repeat):
            seeded = replace(train_config, seed=train_config.seed + number)
            wanted = not ablation and not number  # for the headline; an ablation has it as a row
            results = _run(console, variant, clips, rounds, seeded, machine, subsets, baseline=wanted)
            runs.append((seeded, results))
        if variant == baseline_config(variants[-1]):
            baseline = [s for result in runs[0][1] for s in result.scored[variant.streams]]
        rows += [
            _row(
                variant.head.kind,
                subset,
                [(t, _pool(config, results, subset, t), results) for t, results in runs],
            )
            for subset in subsets
        ]
    seeded, results = runs[0]
    if all(result.baseline is not None for result in results):
        baseline = [s for result in results for s in result.baseline or ()]
    report = _pool(config, results, variants[-1].streams, seeded, baseline)
    console.say(f"{len(rounds)} folds, pooled over the held-out clips{', first seed' if repeat > 1 else ''}:")
    show_report(console, report)
    if ablation or repeat > 1:
        _show_rows(console, rows)
    if as_json:
        print(json.dumps(_to_json(report, rows, len(rounds), ablation=ablation)))
    return Exit.SOME_FAILED if report.failed else Exit.DONE


def _run(
    console: Console,
    config: ModelConfig,
    clips: Clips,
    rounds: tuple[Fold, ...],
    training: TrainConfig,
    machine: options.MachineOptions,
    subsets: list[Streams],
    *,
    baseline: bool,
) -> list[FoldResult]:
    from vidlstm.engine.evaluation.crossval import crossvalidate
    from vidlstm.engine.extraction.pool import num_cores

    processes = machine.workers or num_cores()
    results = crossvalidate(
        config, clips, rounds, training, processes=processes, subsets=subsets, baseline=baseline
    )
    label = f"Folds, {config.head.kind}, seed {training.seed}"
    return list(console.progress(results, total=len(rounds), label=label, unit="fold"))


def _pool(
    config: ModelConfig,
    results: list[FoldResult],
    subset: Streams,
    training: TrainConfig,
    baseline: list[Scored] | None = None,
) -> EvalReport:
    from vidlstm.metrics.classification import summarise

    scored = [s for r in results for s in r.scored[subset]]
    return summarise(config.classes, scored, seed=training.seed, baseline=baseline)


def _row(
    head: HeadKind, subset: Streams, runs: list[tuple[TrainConfig, EvalReport, list[FoldResult]]]
) -> dict[str, Any]:
    """Return one setting's figures over all seeds."""
    top1 = [report.top1 for _, report, _ in runs]
    _, first, results = runs[0]
    return {
        "streams": "+".join(subset),
        "head": head,
        "top1": sum(top1) / len(top1),
        "top1_per_seed": {str(training.seed): report.top1 for training, report, _ in runs},
        "per_fold": [_fold(first.classes, result, subset) for result in results],
    }


def _fold(classes: tuple[str, ...], result: FoldResult, subset: Streams) -> dict[str, Any]:
    from vidlstm.metrics.classification import hits

    scored = result.scored[subset]
    top1 = float(hits(classes, scored).mean())
    return {"held_out": result.fold.held_out_name, "num_clips": len(scored), "top1": top1}


def _show_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("streams", "head", "top-1", "each seed")
    for row in rows:
        seeds = " ".join(f"{value:.3f}" for value in row["top1_per_seed"].values())
        table.add_row(row["streams"], row["head"], f"{row['top1']:.3f}", seeds)
    if not console.quiet:
        console.rich.print(table)


def _to_json(
    report: EvalReport, rows: list[dict[str, Any]], num_folds: int, *, ablation: bool
) -> dict[str, Any]:
    from vidlstm.report.findings import cautions

    pooled = report.to_json()
    keys = (
        "num_clips", "num_failed", "top1", "top1_ci95", "mean_class_accuracy", "macro_f1", "ece", "majority",
        "baselines",
    )  # fmt: skip
    plain = {"schema": SCHEMA, "num_folds": num_folds, **{key: pooled[key] for key in keys}}
    plain |= {
        "classes": pooled["classes"],
        "confusion": pooled["confusion"],
        "per_fold": rows[-1]["per_fold"],
        "cautions": cautions(report),
    }
    plain["top1_per_seed"] = rows[-1]["top1_per_seed"]
    if ablation:
        shown = ("streams", "head", "top1", "top1_per_seed")
        plain["ablation"] = [{key: row[key] for key in shown} for row in rows]
    return plain
