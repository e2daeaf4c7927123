"""Score a model on labelled clips: find, choose a subset, extract, score."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidlstm.data.samples import find_dataset
from vidlstm.engine.devices import choose_backend, choose_device
from vidlstm.engine.evaluation.subsets import Wanted, choose_subset, learned_clips, with_classes_of
from vidlstm.engine.events import DataFound, Event, KnownClips, SubsetChosen
from vidlstm.engine.extraction.clips import extract_clips
from vidlstm.engine.extraction.films.extractor import probe_film
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.reporting import PREDICTIONS, require_own_files, write_predictions, write_report
from vidlstm.engine.training.baseline import score_with_baseline
from vidlstm.engine.training.films import score_films
from vidlstm.engine.training.run_folder import read_epochs
from vidlstm.evaluations import EvalReport, SpanReport
from vidlstm.files import make_folder
from vidlstm.metrics.films import report_spans
from vidlstm.models.checkpoint import load_model
from vidlstm.report.findings import cautions
from vidlstm.settings import DataSettings, MachineSettings


@dataclass(frozen=True)
class EvaluateRequest:
    """All user settings of an evaluation.

    Args:
        data: The data set.
        checkpoint: The model.
        subset: Which clips to score; None: see `choose_subset`.
        machine: Hardware and libraries.
        page: Path of the report page; plots are written next to it. None: write no files.
        cache: Store features on disk.
        command: The command line that repeats this; shown in the report.
    """

    data: DataSettings
    checkpoint: Path
    subset: Wanted | None = None
    machine: MachineSettings = field(default_factory=MachineSettings)
    page: Path | None = None
    cache: bool = True
    command: str = ""


@dataclass(frozen=True)
class EvaluateResult:
    """The result of an evaluation, the last event of its session.

    Args:
        report: Report on the scored clips.
        notes: Caveats about the figures.
        page: The report page; None if it was not requested.
        spans: Report on the films, if the clips are parts of films.
    """

    report: EvalReport
    notes: tuple[str, ...]
    page: Path | None
    spans: SpanReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `eval --json`."""
        plain = {**self.report.to_json(), "cautions": [*self.notes, *cautions(self.report)]}
        return plain if self.spans is None else {**plain, "spans": self.spans.to_json()}


def evaluate(request: EvaluateRequest) -> Generator[Event | EvaluateResult, None, None]:
    """Score a model on labelled clips.

    Yields:
        Events, then the result.

    Raises:
        VidlstmError: The data, the model or a setting cannot be used.
    """
    if request.page is not None:
        require_own_files(request.page, request.data.data, "page", stem=f"{request.page.stem}.")
    choose_backend(request.machine.backend, choose_device(request.machine.device))
    model = load_model(request.checkpoint, baseline=True)
    dataset = find_dataset(request.data, probe_film)
    yield DataFound(dataset)
    run = request.checkpoint.parent
    subset = choose_subset(dataset, run, request.subset)
    yield SubsetChosen(subset.description)
    dataset = with_classes_of(subset.dataset, model)
    notes = []
    if known := learned_clips(dataset, model):
        notes.append(
            f"the model was trained on {len(known)} of these {len(dataset.samples)} clips, "
            f"so the score is too high: {known[0]}{' and others' if len(known) > 1 else ''}"
        )
        yield KnownClips(notes[-1])
    networks = write_networks(model.pose)
    wanted = ReadRequest.of(model.config, views=model.config.views, pose_networks=networks)
    with open_extractor(wanted, model.encoder, request.machine, cache=request.cache) as extractor:
        clips = yield from extract_clips(extractor, dataset)
    yield clips.summary()
    report = score_with_baseline(model, clips, range(len(dataset.samples)))
    spans = report_spans(score_films(model, clips, {s.path for s in dataset.samples}))
    if request.page is not None:
        make_folder(request.page.parent)
        stem = request.page.stem
        parts = [sample.split or "" for sample in dataset.samples]
        write_predictions(
            request.page.with_name(f"{stem}.{PREDICTIONS}"), report, column="split", parts=parts
        )
        write_report(
            request.page, report, model.config, dataset, subset=subset.description,
            training=model.training, epochs=read_epochs(run), notes=notes,
            command=request.command, stem=f"{stem}.", networks=networks, spans=spans,
        )  # fmt: skip
    yield EvaluateResult(report, tuple(notes), request.page, spans)
