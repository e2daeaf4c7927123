"""Start what extraction needs, here or on a cluster: decoder processes, encoder and feature store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from vidlstm.engine.devices import choose_device, make_frame_encoder, use_threads
from vidlstm.engine.distributed import World
from vidlstm.engine.extraction.cluster.cluster import Cluster
from vidlstm.engine.extraction.cluster.source import ClusterSource
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.films.reading import PIXELS
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.pool import DecodePool, default_workers, num_cores
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource, Source
from vidlstm.errors import UsageError
from vidlstm.features.store import NETWORKS, FeatureStore, default_root
from vidlstm.models.backends.torch import features_digest
from vidlstm.models.encoders import Encoder
from vidlstm.models.pose_weights import PoseWeights, read_folder
from vidlstm.settings import MachineSettings


@contextlib.contextmanager
def open_extractor(
    request: ReadRequest,
    encoder: Encoder | None,
    machine: MachineSettings,
    *,
    cache: bool,
    world: World | None = None,
) -> Iterator[Extractor]:
    """Start decoder processes and move the encoder to its device, here or on a cluster.

    The feature store is always on this machine.

    Args:
        request: What to read from each clip.
        encoder: Encoder of the `rgb` stream.
        machine: Where it runs.
        cache: Whether to store features.
        world: Processes of a distributed training. On one machine they share its cores and have a GPU each.

    Raises:
        UsageError: The device, the backend or the cluster is not available.
    """
    world = world or World()
    store = FeatureStore() if cache else None
    if machine.ray is None:
        with open_source(request, encoder, machine, world, is_kept=cache) as source:
            yield Extractor(request, source, store)
        return
    if world.size > 1:
        raise UsageError(f"`ray={machine.ray}`: works with one process, but torchrun started {world.size}")
    with Cluster(machine) as cluster:
        pose = None if request.pose_networks is None else read_folder(request.pose_networks)
        digest = PIXELS if encoder is None else features_digest(encoder, machine.precision or "float32")
        there = replace(machine, ray=None, ray_cpus=None, ray_gpus=0.0)
        opener = partial(_open_on_node, request, encoder, there, pose, is_kept=cache)
        yield Extractor(request, ClusterSource(cluster, digest, opener), store)


@contextlib.contextmanager
def open_source(
    request: ReadRequest, encoder: Encoder | None, machine: MachineSettings, world: World, *, is_kept: bool
) -> Iterator[Source]:
    """Start decoder processes and move the encoder to its device, on this machine.

    Args:
        request: What to read from each clip.
        encoder: Encoder of the `rgb` stream.
        machine: Where it runs.
        world: Processes that share this machine.
        is_kept: Whether to store the converted encoder for later runs.
    """
    num_threads = max(1, num_cores() // world.local_size)
    use_threads(num_threads)
    device = choose_device(machine.device, world.local_rank, world.local_size)
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
            kept_in=default_root() / NETWORKS if is_kept else None,
        )
    workers = machine.workers or max(1, default_workers() // world.local_size)
    with DecodePool(workers, machine.timeout) as pool:
        yield LocalSource(request, frames, pool)


@contextlib.contextmanager
def _open_on_node(
    request: ReadRequest,
    encoder: Encoder | None,
    machine: MachineSettings,
    pose: PoseWeights | None,
    *,
    is_kept: bool,
) -> Iterator[Source]:
    """Open a source in an actor, whose machine may not have the networks of the `pose` stream."""
    there = replace(request, pose_networks=write_networks(pose))
    with open_source(there, encoder, machine, World(), is_kept=is_kept) as source:
        yield source
