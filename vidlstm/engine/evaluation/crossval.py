"""Cross-validation from start to end: find, extract, train every fold, pool the scores."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vidlstm.config import HeadKind, ModelConfig, TrainConfig
from vidlstm.data.copies import Copies, find_copies
from vidlstm.data.samples import Dataset
from vidlstm.data.splits import Fold, given_fold, make_folds
from vidlstm.engine.devices import choose_backend, choose_device
from vidlstm.engine.evaluation.ablation import ablation_configs, stream_subsets
from vidlstm.engine.evaluation.folds import FoldResult, Streams, crossvalidate
from vidlstm.engine.events import CopiesFound, DataFound, Event, PoseLeftOut, Progress
from vidlstm.engine.extraction.backgrounds import find_grouped_dataset
from vidlstm.engine.extraction.clips import Clips, extract_clips
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.pose_networks import find_pose, require_networks, write_networks
from vidlstm.engine.extraction.processes.pool import num_cores
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.reporting import (
    PAGE,
    PREDICTIONS,
    require_own_files,
    write_predictions,
    write_report,
)
from vidlstm.engine.spans.windows import with_windows
from vidlstm.engine.training.auto_streams import configure, with_choice
from vidlstm.engine.training.run_folder import LAST
from vidlstm.errors import UsageError
from vidlstm.evaluations import EvalReport, PoseChoice, Scored, SpanReport
from vidlstm.files import make_folder
from vidlstm.metrics.classification import hits, summarise
from vidlstm.metrics.films import report_spans
from vidlstm.models.checkpoint import baseline_config, rgb_encoder
from vidlstm.models.encoders import require_encoder
from vidlstm.models.header import FILE
from vidlstm.records import SCHEMA
from vidlstm.report.findings import cautions
from vidlstm.settings import AUTO, DataSettings, MachineSettings, ModelSettings, TrainingSettings

Folds = int | Literal["group", "split"]


@dataclass(frozen=True)
class CrossvalRequest:
    """All user settings of a cross-validation.

    Args:
        data: The data set.
        model: The model.
        training: How it is trained.
        machine: Hardware and libraries; `workers` is also the number of folds that run at once.
        folds: Number of folds, with every group in one fold; `group`: one fold per group; `split`: the
            train and test sets of the data.
        ablation: Compare streams and heads.
        repeat: Number of seeds, counted up from the given one.
        out: Folder for the report page, `predictions.csv` and plots; None: write no files.
        overwrite: Replace an existing report in `out`.
        cache: Store features on disk.
        baseline: Also train the baseline, for comparison.
        command: The command line that repeats this; shown in the report.
    """

    data: DataSettings
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    folds: Folds = 5
    ablation: bool = False
    repeat: int = 1
    out: Path | None = None
    overwrite: bool = False
    cache: bool = True
    baseline: bool = True
    command: str = ""


@dataclass(frozen=True)
class FoldScore:
    """Top-1 of one fold."""

    held_out: str
    num_clips: int
    top1: float


@dataclass(frozen=True)
class CrossvalRow:
    """Accuracy of one choice of streams and head, over all folds and seeds.

    Args:
        streams: The streams.
        head: The head.
        top1_per_seed: Top-1 over the clips of all folds, by seed.
        per_fold: Top-1 of each fold, for the first seed.
    """

    streams: Streams
    head: HeadKind
    top1_per_seed: dict[int, float]
    per_fold: tuple[FoldScore, ...]

    @property
    def top1(self) -> float:
        """Mean over the seeds."""
        return sum(self.top1_per_seed.values()) / len(self.top1_per_seed)


@dataclass(frozen=True)
class CrossvalResult:
    """The result of a cross-validation, the last event of its session.

    Args:
        report: Report of the requested model on the held-out clips of all folds, for the first seed.
        rows: One per choice of streams and head; the last is the requested model.
        num_folds: Number of folds.
        ablation: Whether streams and heads were compared.
        spans: Report on the held-out films of all folds by seed, if the clips are parts of films.
        page: The report page; None if no folder was given.
        pose: How `streams=auto` chose in each fold, for the first seed; empty for named streams.
    """

    report: EvalReport
    rows: tuple[CrossvalRow, ...]
    num_folds: int
    ablation: bool
    spans: dict[int, SpanReport] = field(default_factory=dict)
    page: Path | None = None
    pose: tuple[PoseChoice, ...] = ()

    @property
    def num_with_pose(self) -> int:
        """Number of folds in which `streams=auto` kept the `pose` stream."""
        return sum(choice.kept for choice in self.pose)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `crossval --json`."""
        pooled = self.report.to_json()
        keys = (
            "num_clips", "num_failed", "top1", "top1_ci95", "mean_class_accuracy", "macro_f1", "ece",
            "majority", "baselines", "comparisons", "false_alarms", "classes", "confusion",
        )  # fmt: skip
        requested = self.rows[-1]
        plain: dict[str, Any] = {"schema": SCHEMA, "num_folds": self.num_folds}
        plain |= {key: pooled[key] for key in keys}
        plain["per_fold"] = [
            {"held_out": fold.held_out, "num_clips": fold.num_clips, "top1": fold.top1}
            for fold in requested.per_fold
        ]
        plain["cautions"] = cautions(self.report)
        plain["top1_per_seed"] = _by_name(requested.top1_per_seed)
        if self.pose:
            plain["pose"] = {"folds": len(self.pose), "kept": self.num_with_pose}
        if self.spans:
            first, *_ = self.spans.values()
            plain["spans"] = first.to_json()
            plain["spans_per_seed"] = {str(seed): report.to_json() for seed, report in self.spans.items()}
        if self.ablation:
            plain["ablation"] = [
                {
                    "streams": "+".join(row.streams),
                    "head": row.head,
                    "top1": row.top1,
                    "top1_per_seed": _by_name(row.top1_per_seed),
                }
                for row in self.rows
            ]
        return plain


def crossval(request: CrossvalRequest) -> Generator[Event | CrossvalResult, None, None]:
    """For each fold, train on all other folds and score the held-out one.

    Yields:
        Events, then the result.

    Raises:
        VidlstmError: The data, the settings or a file cannot be used.
    """
    if request.ablation and request.model.streams == AUTO:
        raise UsageError("an ablation compares streams: name them in `streams`, not auto")
    if request.out is not None:
        _require_free(request.out, overwrite=request.overwrite)
        require_own_files(request.out / PAGE, request.data.data, "out")
    # Report missing devices and files before searching for data, which can take long.
    choose_backend(request.machine.backend, choose_device(request.machine.device))
    model = request.model.configure(request.data.kind or "video", ("a", "b"))
    if "rgb" in model.streams:
        require_encoder(model.encoder)
    networks = require_networks(request.model, model.streams)
    dataset = yield from find_grouped_dataset(request.data, request.machine, cache=request.cache)
    yield DataFound(dataset)
    if (copies := find_copies(dataset)) != Copies():
        yield CopiesFound(request.data.data, dataset.root, copies)
    config, missing = configure(request.model, dataset.kind, dataset.classes)
    if missing:
        yield PoseLeftOut(missing)
    config = with_windows(config, dataset, range(len(dataset.samples)))
    training = with_choice(request.training.configure(config), request.model, config)
    networks = networks or require_networks(request.model, config.streams)
    folds = _folds(dataset, request.folds, training.seed)
    encoder = None if config.encoder.keeps_pixels else rgb_encoder(config, seed=training.seed)
    wanted = ReadRequest.for_training(config, networks)
    with open_extractor(wanted, encoder, request.machine, cache=request.cache) as extractor:
        clips = yield from extract_clips(extractor, dataset)
    yield clips.summary()
    yield from _Session(request, config, training, clips, folds).run()


class _Session:
    """A cross-validation on extracted clips."""

    def __init__(
        self,
        request: CrossvalRequest,
        config: ModelConfig,
        training: TrainConfig,
        clips: Clips,
        folds: Sequence[Fold],
    ) -> None:
        self.request = request
        self.config = config
        self.training = training
        self.clips = clips
        self.folds = folds

    def run(self) -> Generator[Event | CrossvalResult, None, None]:
        """Train every variant on every fold with every seed."""
        rows: list[CrossvalRow] = []
        baseline: list[Scored] | None = None
        variants = ablation_configs(self.config) if self.request.ablation else [self.config]
        for variant in variants:
            subsets = stream_subsets(variant.streams) if self.request.ablation else [variant.streams]
            runs: dict[int, list[FoldResult]] = {}
            for seed in range(self.training.seed, self.training.seed + self.request.repeat):
                # In an ablation the baseline is one of the rows.
                wanted = self.request.baseline and not self.request.ablation and seed == self.training.seed
                runs[seed] = yield from self._run_folds(variant, seed, subsets, baseline=wanted)
            first = runs[self.training.seed]
            if variant == baseline_config(variants[-1]):
                baseline = [s for result in first for s in result.scored[variant.streams]]
            elif all(result.baseline is not None for result in first):
                baseline = [s for result in first for s in result.baseline or ()]
            rows += [self._row(variant.head.kind, subset, runs) for subset in subsets]
        pooled = [s for result in first for s in result.scored[variants[-1].streams]]
        report = summarise(
            self.config.classes, pooled, seed=self.training.seed, baseline=baseline, kind=self.config.kind
        )
        films = {seed: [f for r in results for f in r.films] for seed, results in runs.items()}
        reports = {seed: report_spans(found, seed=seed) for seed, found in films.items()}
        spans = {seed: found for seed, found in reports.items() if found is not None}
        page = None if self.request.out is None else self.request.out / PAGE
        if page is not None:
            names = [r.fold.held_out_name for r in first for _ in r.scored[variants[-1].streams]]
            self._write(page, report, names, spans.get(self.training.seed))
        pose = tuple(r.pose for r in runs[self.training.seed] if r.pose is not None)
        yield CrossvalResult(report, tuple(rows), len(self.folds), self.request.ablation, spans, page, pose)

    def _write(self, page: Path, report: EvalReport, folds: Sequence[str], spans: SpanReport | None) -> None:
        make_folder(page.parent)
        write_predictions(page.with_name(PREDICTIONS), report, column="fold", parts=folds)
        write_report(
            page,
            report,
            self.config,
            self.clips.dataset,
            subset=f"all clips, each by a model that was not trained on its fold ({len(self.folds)} folds)",
            command=self.request.command,
            networks=write_networks(find_pose(self.request.model, self.config.streams)),
            spans=spans,
        )

    def _run_folds(
        self, config: ModelConfig, seed: int, subsets: Sequence[Streams], *, baseline: bool
    ) -> Generator[Event, None, list[FoldResult]]:
        results: list[FoldResult] = []
        detail = f"{config.head.kind}, seed {seed}"
        yield Progress("folds", 0, len(self.folds), detail)
        for result in crossvalidate(
            config,
            self.clips,
            self.folds,
            replace(self.training, seed=seed),
            processes=self.request.machine.workers or num_cores(),
            subsets=subsets,
            baseline=baseline,
        ):
            results.append(result)
            if result.diverged is not None:
                yield result.diverged
            yield Progress("folds", len(results), len(self.folds), detail)
        return results

    def _row(self, head: HeadKind, subset: Streams, runs: dict[int, list[FoldResult]]) -> CrossvalRow:
        def top1(scored: Sequence[Scored]) -> float:
            return float(hits(self.config.classes, scored).mean())

        return CrossvalRow(
            subset,
            head,
            {seed: top1([s for r in results for s in r.scored[subset]]) for seed, results in runs.items()},
            tuple(
                FoldScore(r.fold.held_out_name, len(r.scored[subset]), top1(r.scored[subset]))
                for r in runs[self.training.seed]
            ),
        )


def _require_free(out: Path, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, not a folder; choose another `out`")
    if (out / FILE).exists() or (out / LAST).exists():
        raise UsageError(f"{out}: holds a training run; choose another `out`")
    if (out / PAGE).exists() and not overwrite:
        raise UsageError(f"{out}: already holds a report; choose another `out`, or pass `overwrite=True`")


def _folds(dataset: Dataset, folds: Folds, seed: int) -> tuple[Fold, ...]:
    return (given_fold(dataset),) if folds == "split" else make_folds(dataset, folds, seed)


def _by_name(per_seed: dict[int, float]) -> dict[str, float]:
    return {str(seed): top1 for seed, top1 in per_seed.items()}
