"""How well would it do? A cross-validation from start to end: find, extract, train every fold, pool."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vidlstm.config import HeadKind, ModelConfig, TrainConfig
from vidlstm.data.samples import Dataset
from vidlstm.data.splits import Fold, given_fold, make_folds
from vidlstm.engine.devices import choose_backend, choose_device
from vidlstm.engine.evaluation.ablation import ablation_configs, stream_subsets
from vidlstm.engine.evaluation.folds import FoldResult, Streams, crossvalidate
from vidlstm.engine.events import DataFound, Event, Progress
from vidlstm.engine.extraction.backgrounds import find_grouped_dataset
from vidlstm.engine.extraction.clips import Clips, extract_clips
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.pool import num_cores
from vidlstm.engine.extraction.pose_networks import require_networks
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.reporting import PAGE, PREDICTIONS, leave_report, write_predictions
from vidlstm.engine.spans.windows import with_windows
from vidlstm.engine.training.run_folder import LAST
from vidlstm.errors import UsageError
from vidlstm.files import make_folder
from vidlstm.metrics.classification import hits, summarise
from vidlstm.metrics.films import report_spans
from vidlstm.models.checkpoint import baseline_config, rgb_encoder
from vidlstm.models.header import FILE
from vidlstm.records import SCHEMA, EvalReport, Scored, SpanReport
from vidlstm.report.findings import cautions
from vidlstm.settings import DataSettings, MachineSettings, ModelSettings, TrainingSettings

Folds = int | Literal["group", "split"]


@dataclass(frozen=True)
class CrossvalRequest:
    """What is cross-validated, and how.

    Args:
        data: Which clips.
        model: What reads them.
        training: How it is trained.
        machine: Where it runs; `workers` is also how many folds run at once.
        folds: A number of folds that no group crosses; `group`: one a group; `split`: the data's own.
        ablation: Compare streams and heads.
        repeat: Seeds, from the one given on.
        out: Folder for the report page, `predictions.csv` and plots; None writes nothing.
        overwrite: Replace what is in `out`.
        cache: Keep features.
        baseline: Train the baseline as well, for comparison.
        command: That asks for the same again; shown in the report.
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
    """One choice of streams and head, over all folds and seeds.

    Args:
        streams: That are read.
        head: What reads them.
        top1_per_seed: By seed, over the clips of all folds.
        per_fold: Of the first seed.
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
    """A cross-validation that is over; the last event of its session.

    Args:
        report: Of the held-out clips of all folds together, by the model asked for, first seed.
        rows: One for each choice of streams and head; the last is the model asked for.
        num_folds: How many there were.
        ablation: Whether streams and heads were compared.
        spans: By seed, of the held-out films of all folds together, where the clips are parts of films.
        page: The report page, if a folder for it was named.
    """

    report: EvalReport
    rows: tuple[CrossvalRow, ...]
    num_folds: int
    ablation: bool
    spans: dict[int, SpanReport] = field(default_factory=dict)
    page: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `crossval --json`."""
        pooled = self.report.to_json()
        keys = (
            "num_clips", "num_failed", "top1", "top1_ci95", "mean_class_accuracy", "macro_f1", "ece",
            "majority", "baselines", "comparisons", "false_alarms", "classes", "confusion",
        )  # fmt: skip
        asked = self.rows[-1]
        plain: dict[str, Any] = {"schema": SCHEMA, "num_folds": self.num_folds}
        plain |= {key: pooled[key] for key in keys}
        plain["per_fold"] = [
            {"held_out": fold.held_out, "num_clips": fold.num_clips, "top1": fold.top1}
            for fold in asked.per_fold
        ]
        plain["cautions"] = cautions(self.report)
        plain["top1_per_seed"] = _by_name(asked.top1_per_seed)
        if self.spans:
            first, *_ = self.spans.values()
            plain |= first.to_json()
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
    """Train on all folds but one, score that one, for each fold.

    Yields:
        Events, and at the end the result.

    Raises:
        VidlstmError: It cannot be done.
    """
    if request.out is not None:
        _require_free(request.out, overwrite=request.overwrite)
    # What is missing is said before data is looked for.
    choose_backend(request.machine.backend, choose_device(request.machine.device))
    streams = request.model.configure(request.data.kind or "video", ("a", "b")).streams
    networks = require_networks(request.model, streams)
    dataset = yield from find_grouped_dataset(request.data, request.machine, cache=request.cache)
    yield DataFound(dataset)
    config = with_windows(request.model.configure(dataset.kind, dataset.classes), dataset)
    training = request.training.configure(config)
    folds = _folds(dataset, request.folds, training.seed)
    encoder = None if config.encoder.keeps_pixels else rgb_encoder(config, seed=training.seed)
    wanted = ReadRequest.for_training(config, networks)
    with open_extractor(wanted, encoder, request.machine, cache=request.cache) as extractor:
        clips = yield from extract_clips(extractor, dataset)
    yield clips.told()
    yield from _Session(request, config, training, clips, folds).run()


class _Session:
    """A cross-validation whose clips are extracted."""

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
                # An ablation has the baseline as a row of its own.
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
        spans = {seed: report_spans(found, seed=seed) for seed, found in films.items() if found}
        page = None if self.request.out is None else self.request.out / PAGE
        if page is not None:
            names = [r.fold.held_out_name for r in first for _ in r.scored[variants[-1].streams]]
            self._write(page, report, names)
        yield CrossvalResult(report, tuple(rows), len(self.folds), self.request.ablation, spans, page)

    def _write(self, page: Path, report: EvalReport, folds: Sequence[str]) -> None:
        make_folder(page.parent)
        write_predictions(page.with_name(PREDICTIONS), report, column="fold", parts=folds)
        leave_report(
            page,
            report,
            self.config,
            self.clips.dataset,
            subset=f"all clips, each by a model that was not trained on its fold ({len(self.folds)} folds)",
            command=self.request.command,
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
        raise UsageError(f"{out}: is a file, but a folder is needed; choose another `out`")
    if (out / FILE).exists() or (out / LAST).exists():
        raise UsageError(f"{out}: holds a training run; choose another `out`")
    if (out / PAGE).exists() and not overwrite:
        raise UsageError(f"{out}: already holds a report; choose another `out`, or pass `overwrite=True`")


def _folds(dataset: Dataset, folds: Folds, seed: int) -> tuple[Fold, ...]:
    return (given_fold(dataset),) if folds == "split" else make_folds(dataset, folds, seed)


def _by_name(per_seed: dict[int, float]) -> dict[str, float]:
    return {str(seed): top1 for seed, top1 in per_seed.items()}
