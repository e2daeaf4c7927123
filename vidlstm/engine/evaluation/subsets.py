"""Which clips an evaluation is made on, and whether the model has seen them before."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vidlstm.data.fingerprints import fingerprint
from vidlstm.data.samples import Dataset
from vidlstm.data.split_table import read_split
from vidlstm.data.splits import Split
from vidlstm.engine.training.run_folder import SPLIT
from vidlstm.errors import DataError, InputError, UsageError
from vidlstm.models.checkpoint import Model

Wanted = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class ScoredSubset:
    """Which samples an evaluation is made on, and why these."""

    dataset: Dataset
    description: str


def choose_subset(dataset: Dataset, run: Path, wanted: Wanted | None) -> ScoredSubset:
    """Choose the samples to score: ones that the model has not learned from, unless told otherwise.

    The data's test subset where it has one; else the subset that the run held out, when this is the
    data it was trained on; else all of it.

    Args:
        dataset: What was found.
        run: The run's folder, whose `split.csv` is consulted.
        wanted: `train`, `val`, `test`, `all`, or None to choose.

    Raises:
        UsageError: The subset that was asked for is empty or unknown.
    """
    everything = ScoredSubset(dataset, f"all {len(dataset.samples)} clips")
    if wanted == "all":
        return everything
    given: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for i, sample in enumerate(dataset.samples):
        if sample.split:
            given[sample.split].append(i)
    source = "of the data"
    if (not given["test"] and wanted != "train") or not any(given.values()):
        held = _run_split(dataset, run)
        if held is not None:
            given = {name: list(held.subset(name)) for name in ("train", "val", "test")}
            source = f"of {run / SPLIT}"
    for name in [wanted] if wanted else ["test", "val"]:
        if chosen := given[name]:
            samples = tuple(dataset.samples[i] for i in chosen)
            paths = {sample.path for sample in samples}
            films = tuple(film for film in dataset.films if film.path in paths)
            part = replace(dataset, samples=samples, films=films)
            return ScoredSubset(part, f"the {name} subset {source}, {len(chosen)} clips")
    if wanted:
        raise UsageError(
            f"`subset={wanted}`: neither the data nor the run's {SPLIT} has that subset; try `subset=all`"
        )
    return everything


def _run_split(dataset: Dataset, run: Path) -> Split | None:
    """Return the run's split, when it was made of this data."""
    if not (run / SPLIT).is_file():
        return None
    try:
        return read_split(run / SPLIT, dataset)
    except DataError:
        return None


def with_classes_of(dataset: Dataset, model: Model) -> Dataset:
    """Give the data set the model's classes, in the model's order.

    Raises:
        DataError: It has a class that the model does not know.
    """
    unknown = sorted({s.label for s in dataset.samples} - set(model.config.classes))
    if unknown:
        raise DataError(
            f"{dataset.root}: the model does not know class {unknown[0]!r} ({len(unknown)} unknown in all); "
            f"it knows {', '.join(model.config.classes[:10])}"
        )
    return replace(dataset, classes=model.config.classes)


def learned_clips(dataset: Dataset, model: Model) -> list[Path]:
    """Return the clips whose content the model learned from, wherever they were copied."""
    learned = set(model.training.get("learned_from", ()))
    found = []
    for sample in dataset.samples:
        with contextlib.suppress(InputError, OSError):
            if fingerprint(sample.path) in learned:
                found.append(sample.path)
    return found
