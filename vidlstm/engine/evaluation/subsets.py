"""Which clips an evaluation scores, and whether the model was trained on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vidlstm.data.fingerprints import fingerprints
from vidlstm.data.layouts.folders import count
from vidlstm.data.samples import Dataset
from vidlstm.data.split_table import SPLIT, read_split
from vidlstm.data.splits import Split
from vidlstm.errors import DataError, UsageError
from vidlstm.models.checkpoint import Model

Wanted = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class ScoredSubset:
    """The samples that an evaluation scores, and a description of the choice."""

    dataset: Dataset
    description: str


def choose_subset(dataset: Dataset, run: Path, wanted: Wanted | None) -> ScoredSubset:
    """Choose the samples to score; by default samples that the model was not trained on.

    The default is the data's test set; without one, the subset that the run held out, if this is the data
    it was trained on; otherwise all samples.

    Args:
        dataset: The data set.
        run: The run folder; its `split.csv` is read.
        wanted: `train`, `val`, `test`, `all`, or None for the default.

    Raises:
        UsageError: The requested subset is empty or unknown.
    """
    everything = ScoredSubset(dataset, f"all {len(dataset.samples)} clips")
    if wanted == "all":
        return everything
    given: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for i, sample in enumerate(dataset.samples):
        if sample.split:
            given[sample.split].append(i)
    source, extra = "of the data", ""
    if (not given["test"] and wanted != "train") or not any(given.values()):
        held = _run_split(dataset, run)
        if held is not None:
            given = {name: list(held.subset(name)) for name in ("train", "val", "test")}
            source = f"of {run / SPLIT}"
            extra = f" ({'; '.join(held.notes)})" if held.notes else ""
    for name in [wanted] if wanted else ["test", "val"]:
        if chosen := given[name]:
            samples = tuple(dataset.samples[i] for i in chosen)
            paths = {sample.path for sample in samples}
            films = tuple(film for film in dataset.films if film.path in paths)
            part = replace(dataset, samples=samples, films=films)
            return ScoredSubset(part, f"the {name} subset {source}, {count(len(chosen), 'clip')}{extra}")
    if wanted:
        raise UsageError(
            f"`subset={wanted}`: neither the data nor the run's {SPLIT} has that subset; try `subset=all`"
        )
    return everything


def _run_split(dataset: Dataset, run: Path) -> Split | None:
    """Return the run's split; None if it was made from other data."""
    if not (run / SPLIT).is_file():
        return None
    try:
        return read_split(run / SPLIT, dataset)
    except DataError:
        return None


def with_classes_of(dataset: Dataset, model: Model) -> Dataset:
    """Return the data set with the model's classes, in the model's order.

    Raises:
        DataError: The data set has a class that the model does not know.
    """
    unknown = sorted({s.label for s in dataset.samples} - set(model.config.classes))
    if unknown:
        raise DataError(
            f"{dataset.root}: the model does not know class {unknown[0]!r} ({len(unknown)} unknown in all); "
            f"it knows {', '.join(model.config.classes[:10])}"
        )
    return replace(dataset, classes=model.config.classes)


def learned_clips(dataset: Dataset, model: Model) -> list[Path]:
    """Return the clips that the model was trained on, recognised by content, whatever their path."""
    learned = set(model.training.get("learned_from", ()))
    paths = [sample.path for sample in dataset.samples]
    found = zip(paths, fingerprints(paths), strict=True)
    return [path for path, content in found if content and content in learned]
