"""What several commands do first: read the data, tell what was found, extract features."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vidlstm.cli.console import Console
from vidlstm.cli.options import DataOptions, MachineOptions
from vidlstm.errors import CheckpointError, DataError
from vidlstm.records import EvalReport
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from vidlstm.data.samples import Dataset
    from vidlstm.engine.distributed import World
    from vidlstm.engine.extraction.extractor import Extractor
    from vidlstm.engine.extraction.reading import ReadRequest
    from vidlstm.engine.training.learning import Clips
    from vidlstm.models.encoders import Encoder

_SHOWN = 20  # names listed before "and N more"


def find_dataset(console: Console, options: DataOptions) -> Dataset:
    """Find the samples and say what was found: classes, clips, groups and the rule that gave them."""
    from vidlstm.data.samples import find_samples

    dataset = find_samples(
        options.data,
        kind=options.kind,
        group_column=options.group_column,
        group_by=options.group_by,
        split_file=options.split_file,
        class_list=options.class_list,
    )
    counts = dataset.class_counts.values()
    thing = "clips" if dataset.kind == "video" else "pictures"
    spread = f"{min(counts)} each" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} each"
    console.say(
        f"{dataset.root}: {len(dataset.samples)} {thing} of {len(counts)} classes, {spread}"
        f" ({dataset.layout})."
    )
    console.say(f"Groups: {dataset.num_groups}. {dataset.group_rule}")
    for note in dataset.notes:
        console.say(note)
    for loss in dataset.lost:
        console.warn(loss)
    return dataset


def tell_lengths(console: Console, clips: Clips) -> None:
    """Say how long and how large the readable clips are, and name the others with the reason."""
    infos = [e.info for e in clips.extracted if e.info is not None]
    if infos:
        sizes = sorted((i.width, i.height) for i in infos)
        text = f"Sizes: {sizes[0][0]}x{sizes[0][1]} to {sizes[-1][0]}x{sizes[-1][1]}"
        seconds = sorted(i.seconds for i in infos if i.seconds is not None)
        if seconds:
            middle = seconds[len(seconds) // 2]
            text = f"Lengths: {seconds[0]:.1f} to {seconds[-1]:.1f} s, {middle:.1f} s in the middle. {text}"
        console.say(text)
    tell_problems(console, clips)


def tell_problems(console: Console, clips: Clips) -> None:
    """Name the clips that cannot be read, or only in part, with the reason."""
    bad = [e for e in clips.extracted if e.problem is not None]
    if not bad:
        return
    unreadable = sum(e.features is None for e in bad)
    console.warn(f"{unreadable} clips cannot be read and {len(bad) - unreadable} only in part:")
    for extracted in bad if console.verbose else bad[:_SHOWN]:
        assert extracted.problem is not None
        console.warn(f"  {extracted.path}: {extracted.problem.code.value}: {extracted.problem.message}")
    if len(bad) > _SHOWN and not console.verbose:
        console.warn(f"  and {len(bad) - _SHOWN} more (--verbose names them; `vidlstm check` lists all)")


@contextlib.contextmanager
def open_extractor(
    request: ReadRequest,
    encoder: Encoder | None,
    machine: MachineOptions,
    *,
    cache: bool,
    console: Console,
    world: World | None = None,
) -> Iterator[Extractor]:
    """Start decoder processes and bring the encoder to its device.

    Args:
        request: What is read of each clip.
        encoder: Of the `rgb` stream.
        machine: Options.
        cache: Keep features.
        console: Says if they cannot be kept.
        world: Processes of one training; those on this machine share its cores, and have a GPU each.
    """
    from vidlstm.engine.devices import choose_device, make_frame_encoder, use_threads
    from vidlstm.engine.distributed import World
    from vidlstm.engine.extraction.extractor import Extractor
    from vidlstm.engine.extraction.pool import DecodePool, default_workers, num_cores
    from vidlstm.features.store import NETWORKS, FeatureStore

    world = world or World()
    num_threads = max(1, num_cores() // world.local_size)
    use_threads(num_threads)
    device = choose_device(machine.device, world.local_rank)
    store = FeatureStore() if cache else None
    frames = None
    if encoder is not None:
        frames = make_frame_encoder(
            encoder,
            device,
            request.size,
            request.channels,
            num_threads,
            backend=machine.backend,
            precision=machine.precision or "float32",
            kept_in=None if store is None else store.root / NETWORKS,
        )
    workers = machine.workers or max(1, default_workers() // world.local_size)
    with DecodePool(workers, machine.timeout) as pool:
        yield Extractor(request, frames, store, pool)
    if store is not None and store.write_error is not None:
        console.warn(
            f"features could not be kept in {store.root}: {store.write_error}; they were used all the same"
        )


def extract_dataset(
    console: Console, extractor: Extractor, dataset: Dataset, world: World | None = None
) -> Clips:
    """Extract every sample, with progress; a world shares the work.

    Raises:
        DataError: Not one can be read.
    """
    from vidlstm.engine.distributed import World
    from vidlstm.engine.training.learning import Clips

    world = world or World()
    mine = world.shard(dataset.samples)
    results = extractor.extract(s.path for s in mine)
    own = list(console.progress(results, total=len(mine), label="Reading", unit="clip"))
    total = len(dataset.samples)
    clips = Clips(dataset, tuple(world.gather(own)))
    if all(e.features is None for e in clips.extracted):
        first = clips.extracted[0]
        why = first.problem.message if first.problem else ""
        raise DataError(f"{dataset.root}: not one of {total} clips can be read; {first.path}: {why}")
    return clips


def find_checkpoint(console: Console, given: Path | None) -> Path:
    """Return the checkpoint to use and, when nobody named it, say which.

    Raises:
        CheckpointError: There is none.
    """
    if given is not None:
        return given / "model.safetensors" if given.is_dir() else given
    if named := os.environ.get("VIDLSTM_CHECKPOINT"):
        console.say(f"Model: {named} ($VIDLSTM_CHECKPOINT)")
        return Path(named)
    runs = sorted(Path("runs").glob("*/model.safetensors"), key=lambda f: f.stat().st_mtime_ns)
    if not runs:
        raise CheckpointError(
            "no model: there is none in runs/ under this folder; train one with `vidlstm train DATA`, "
            "or name one with --checkpoint FILE"
        )
    console.say(f"Model: {runs[-1]}")
    return runs[-1]


def show_report(console: Console, report: EvalReport) -> None:
    """Say the headline figures, what they do not carry, and a table of the classes."""
    from vidlstm.report.findings import baselines, cautions

    low, high = report.top1_interval.low, report.top1_interval.high
    text = (
        f"top-1 {report.top1:.3f} (95 % interval {low:.3f} to {high:.3f}, resampled over "
        f"{report.num_groups} groups), "
        f"mean class accuracy {report.mean_class_accuracy:.3f}, macro F1 {report.macro_f1:.3f}, "
        f"{report.num_clips} clips; {'; '.join(f'{name}: {top1:.3f}' for name, top1 in baselines(report))}"
    )
    console.say(text)
    before = "" if report.ece_uncalibrated is None else f"; before calibration {report.ece_uncalibrated:.3f}"
    console.say(f"Calibration error (ECE) {report.ece:.3f}{before}.")
    if report.failed:
        console.warn(f"{len(report.failed)} clips could not be read; each counts as a mistake")
    for caution in cautions(report):
        console.say(caution)
    if not console.quiet and sys.stderr.isatty():
        table = Table("class", "precision", "recall", "F1", "clips")
        for row in report.per_class:
            table.add_row(
                Text(printable(row.label)),  # a string would be searched for markup
                f"{row.precision:.3f}",
                f"{row.recall:.3f}",
                f"{row.f1:.3f}",
                str(row.support),
            )
        console.rich.print(table)
