"""Start what reads and encodes files for a labeller: decoder processes on this machine, or a Ray cluster.

Both are started before torch is imported, so this module does not import it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from vidlstm.engine.extraction.cluster.cluster import Cluster
from vidlstm.engine.extraction.cluster.source import ClusterSource
from vidlstm.engine.extraction.films.reading import PIXELS
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.pool import DecodePool, default_workers
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource, Source
from vidlstm.engine.prediction.labeller import Labeller, ModelChoice, load_labeller
from vidlstm.models.header import is_exported
from vidlstm.settings import MachineSettings

Readers: TypeAlias = DecodePool | Cluster
"""Processes that read files, on this machine or on a cluster."""


@contextlib.contextmanager
def open_readers(machine: MachineSettings) -> Iterator[Readers]:
    """Start decoder processes, or connect to a cluster.

    Raises:
        UsageError: The cluster is not available.
    """
    if machine.ray is not None:
        with Cluster(machine) as cluster:
            yield cluster
        return
    with DecodePool(machine.workers or default_workers(), machine.timeout, at_once=True) as pool:
        yield pool


def make_source(labeller: Labeller, readers: Readers, request: ReadRequest) -> Source:
    """Return the source of features for a labeller.

    Args:
        labeller: The labeller.
        readers: Processes that read the files.
        request: What to read from each file.
    """
    if isinstance(readers, DecodePool):
        return LocalSource(request, labeller.encoder, readers)
    assert labeller.choice is not None
    digest = PIXELS if labeller.encoder is None else labeller.encoder.digest
    files = _model_files(labeller.choice.path)
    opener = partial(_open_on_node, labeller.choice, files, request, readers.machine)
    return ClusterSource(readers, digest, opener)


def _model_files(path: Path) -> dict[str, bytes]:
    """Return the content of a model's files by name; for an exported model, of all files in its folder."""
    files = [file for file in path.parent.iterdir() if file.is_file()] if is_exported(path) else [path]
    return {file.name: file.read_bytes() for file in files}


@contextlib.contextmanager
def _open_on_node(
    choice: ModelChoice, files: Mapping[str, bytes], request: ReadRequest, machine: MachineSettings
) -> Iterator[Source]:
    """Open a source in an actor, from a copy of the model's files."""
    with tempfile.TemporaryDirectory(prefix="vidlstm-", ignore_cleanup_errors=True) as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        path = Path(folder) / choice.path.name
        labeller = load_labeller(
            path, device=choice.device, backend=choice.backend, precision=choice.precision
        )
        there = replace(request, pose_networks=write_networks(labeller.pose))
        with DecodePool(machine.workers or default_workers(), machine.timeout) as pool:
            yield LocalSource(there, labeller.encoder, pool)
