"""Small data sets of empty files, for tests that depend only on names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vidlstm.data.layouts.folders import Subset
from vidlstm.data.samples import Dataset, Sample


def plant(root: Path, names: Iterable[str], content: bytes = b"") -> Path:
    """Create files and their folders."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def dataset(rows: Sequence[tuple[str, str, Subset | None]]) -> Dataset:
    """Make a data set in memory from label, group and split."""
    samples = tuple(
        Sample(Path(f"/data/{i:05d}.mp4"), label, group, side) for i, (label, group, side) in enumerate(rows)
    )
    classes = tuple(sorted({sample.label for sample in samples}))
    return Dataset(Path("/data"), "video", samples, classes, "Groups were given.", "rows in memory")
