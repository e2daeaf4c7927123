"""Start everything that extraction needs on this machine: decoder processes, encoder, feature store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vidlstm.engine.devices import choose_device, make_frame_encoder, use_threads
from vidlstm.engine.distributed import World
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.pool import DecodePool, default_workers, num_cores
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.features.store import NETWORKS, FeatureStore
from vidlstm.models.encoders import Encoder
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
    """Start decoder processes and bring the encoder to its device.

    Args:
        request: What is read of each clip.
        encoder: Of the `rgb` stream.
        machine: Where it runs.
        cache: Keep features.
        world: Processes of one training; those on this machine share its cores, and have a GPU each.
    """
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
        yield Extractor(request, LocalSource(request, frames, pool), store)
