"""The plan of a training: data, split and complete settings, checked before any clip is read."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.data.copies import Copies, find_copies
from vidlstm.data.earlier_clips import EarlierClips, new_groups, split_again
from vidlstm.data.fingerprints import fingerprints
from vidlstm.data.layouts.recognise import require_data
from vidlstm.data.samples import Dataset
from vidlstm.data.split_table import SPLIT, SplitRow, read_split_rows, split_rows
from vidlstm.data.splits import Split, make_split
from vidlstm.engine.devices import choose_backend, choose_device
from vidlstm.engine.events import CopiesFound, DataFound, Event, PoseLeftOut, SplitMade
from vidlstm.engine.extraction.backgrounds import find_grouped_dataset
from vidlstm.engine.extraction.pose_networks import find_pose, require_networks
from vidlstm.engine.spans.windows import with_windows
from vidlstm.engine.training.auto_streams import configure, with_choice
from vidlstm.engine.training.run_folder import MODEL, RunFolder, RunSettings
from vidlstm.engine.training.tensorboard import require_tensorboard
from vidlstm.errors import UsageError
from vidlstm.models.encoders import require_encoder
from vidlstm.models.header import read_header
from vidlstm.models.pose_weights import PoseWeights
from vidlstm.settings import (
    DataSettings,
    FineTuneSettings,
    MachineSettings,
    ModelSettings,
    OutputSettings,
    SplitSettings,
    TrainingSettings,
)


@dataclass(frozen=True)
class TrainRequest:
    """All user settings of a training.

    Args:
        data: The data set.
        split: Which clips are held out.
        model: The model.
        training: How it is trained.
        fine_tuning: How much of the encoder is trained, and which run to start from.
        machine: Hardware and libraries.
        output: The run folder.
        cache: Store features on disk.
        command: The command line that repeats this training; shown in the report.
    """

    data: DataSettings
    split: SplitSettings = field(default_factory=SplitSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    fine_tuning: FineTuneSettings = field(default_factory=FineTuneSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    cache: bool = True
    command: str = ""


@dataclass(frozen=True)
class Plan:
    """A training that is ready to run.

    Args:
        dataset: All clips.
        settings: The complete settings of the run.
        split: The split of the clips.
        prints: Fingerprint of every clip's content.
        rows: Rows of `split.csv`.
        start: The run that fine-tuning starts from.
        learned_before: Fingerprints of clips that the weights were trained on before, and are not now.
        left_out: Names of the clips that the network to start from left out in its training, for validation;
            empty if there is no such network.
        learned: Names of the clips that the network to start from was trained on, including these.
        new_groups: Groups of which the network was trained on no clip.
        pose: Weights of the networks of the `pose` stream.
    """

    dataset: Dataset
    settings: RunSettings
    split: Split
    prints: list[str]
    rows: dict[str, SplitRow]
    start: Path | None
    learned_before: list[str]
    left_out: list[set[str]]
    learned: set[str]
    new_groups: set[str]
    pose: PoseWeights | None = None


def make_plan(request: TrainRequest) -> Generator[Event, None, Plan]:
    """Make the plan; settings that are not given come from the earlier run, if there is one.

    Yields:
        Events: the data that was found, and the split.

    Raises:
        VidlstmError: The data, the settings or the earlier run cannot be used.
    """
    earlier, start = _earlier_run(request)
    _check(request, earlier, start)
    facts = {} if start is None else read_header(start / MODEL).training
    known = _earlier_clips(request, earlier, facts.get("learned_from", ()))
    sources = {} if earlier is None else earlier.sources
    data, chosen = request.data.over(sources), request.split.over(sources)
    dataset = yield from find_grouped_dataset(data, request.machine, cache=request.cache)
    yield DataFound(dataset)
    if (copies := find_copies(dataset)) != Copies():
        yield CopiesFound(data.data, dataset.root, copies)
    base = None if earlier is None else earlier.model
    model, missing = configure(request.model, dataset.kind, dataset.classes, base)
    if missing:
        yield PoseLeftOut(missing)
    model = request.fine_tuning.configure(model, request.model.members)
    training = _training(request, model, earlier)
    prints = fingerprints(s.path for s in dataset.samples)
    split = _split(dataset, prints, known, training.seed, chosen)
    model = with_windows(model, dataset, split.train)
    yield SplitMade(split)
    learned_before = [] if known is None else sorted(known.learned - {prints[i] for i in split.train})
    sources = {
        **data.sources(),
        "val_share": chosen.val_share,
        "allow_shared_groups": chosen.allow_shared_groups,
        "from": None if start is None else str(start),
        "learned_before": learned_before,
    }
    settings = RunSettings(str(data.data), sources, model, training)
    pose = find_pose(request.model, model.streams)
    rows = split_rows(dataset, split, prints)
    contents = [set(facts.get(key, ())) for key in ("left_out", "learned_from")]
    left_out, learned = ({name for name, r in rows.items() if r.fingerprint in some} for some in contents)
    parts = [left_out] if "left_out" in facts else []
    new = {s.group for s in dataset.samples} if known is None else new_groups(dataset, prints, known)
    return Plan(dataset, settings, split, prints, rows, start, learned_before, parts, learned, new, pose)


def _split(
    dataset: Dataset, prints: list[str], known: EarlierClips | None, seed: int, settings: SplitSettings
) -> Split:
    share, shared = settings.val_share, settings.allow_shared_groups
    if known is None:
        return make_split(dataset, seed=seed, val_share=share, allow_shared_groups=shared)
    return split_again(dataset, prints, known, seed=seed, val_share=share, allow_shared_groups=shared)


def _earlier_clips(
    request: TrainRequest, earlier: RunSettings | None, learned: Iterable[str]
) -> EarlierClips | None:
    """Return the clips of the run to resume or start from."""
    run = request.output.resume or request.fine_tuning.start
    if earlier is None or run is None:
        return None
    before = [*(earlier.sources.get("learned_before") or ()), *learned]
    return EarlierClips(run, read_split_rows(run / SPLIT), before)


def _check(request: TrainRequest, earlier: RunSettings | None, start: Path | None) -> None:
    """Reject everything that is wrong without the clips: finding them can take long."""
    require_data(request.data.data)
    output = request.output
    if output.resume is not None and earlier is not None:
        share = request.split.val_share
        if share is not None and share not in (0, earlier.sources.get("val_share")):
            raise UsageError(
                f"`val_share={share:g}`: a resumed run keeps its subsets; leave it out, or give 0"
            )
    if start is not None and output.out is not None and output.out.resolve() == start.resolve():
        raise UsageError(f"`out={output.out}`: is the run to start from; choose another `out`")
    if output.resume is None and output.out is not None:
        RunFolder(output.out).require_free(overwrite=output.overwrite)
    if output.tensorboard:
        require_tensorboard()
    choose_backend(request.machine.backend, choose_device(request.machine.device))
    any_classes = ("a", "b")
    kind = request.data.kind or ("video" if earlier is None else earlier.model.kind)
    model = request.model.configure(kind, any_classes, None if earlier is None else earlier.model)
    if "rgb" in model.streams and start is None:
        require_encoder(model.encoder)
    require_networks(request.model, model.streams)
    _training(request, request.fine_tuning.configure(model, request.model.members), earlier)


def _training(request: TrainRequest, model: ModelConfig, earlier: RunSettings | None) -> TrainConfig:
    base = TrainConfig.default(model)
    if earlier is not None and request.output.resume is not None:
        base = earlier.training
    elif earlier is not None:  # fine-tuning keeps only the seed of the earlier run, for the same split
        base = replace(base, seed=earlier.training.seed)
    base = with_choice(base, request.model, model)
    return request.fine_tuning.over(request.training.configure(model, base))


def _earlier_run(request: TrainRequest) -> tuple[RunSettings | None, Path | None]:
    """Return the settings of the run to resume or start from, and the folder of the run to start from."""
    start = request.fine_tuning.start
    if request.output.resume is not None:
        settings = RunFolder(request.output.resume).settings()
        original = settings.sources.get("from")
        return settings, start or (None if original is None else Path(original))
    if start is None:
        return None, None
    if request.fine_tuning.unfreeze in (None, "0"):
        raise UsageError(
            "`start` is for fine-tuning the encoder; give the number of stages with `unfreeze`, or all"
        )
    if not start.is_dir():
        raise UsageError(f"`start={start}`: not a run folder")
    settings = RunFolder(start).settings()
    if (start / MODEL).is_file():  # `streams=auto` may have removed a stream from it
        streams = read_header(start / MODEL).config.streams
        settings = replace(settings, model=replace(settings.model, streams=streams))
    return settings, start
