"""The compared readers: each returns chosen frames of a file, as small squares, in its fastest way.

Every reader has its own process, which serves all calls. So the FFmpeg libraries of different readers do not
conflict, and a reader that is not installed or crashes does not affect the others.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.speed.measure import Cost

SIZE = 224
Pictures = NDArray[np.uint8]
Reader = Callable[[Path, Sequence[int]], Pictures]
"""Returns the frames with these numbers, `(T, SIZE, SIZE, 3)` RGB. Ours chooses the same frames itself."""


def read_ours(path: Path, moments: Sequence[int]) -> Pictures:
    """Read with `vidlstm.media`, as the decoder processes do."""
    from vidlstm.config import Sampling
    from vidlstm.media.clips import ClipSpec, read_clip

    return read_clip(path, ClipSpec(Sampling("uniform", len(moments)), size=SIZE)).frames


def read_torchcodec(path: Path, moments: Sequence[int], seek_mode: str, threads: int) -> Pictures:
    """Read with torchcodec, which resizes while it decodes."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    decoder = VideoDecoder(
        str(path), seek_mode=seek_mode, num_ffmpeg_threads=threads, dimension_order="NHWC",
        transforms=[Resize((SIZE, SIZE))],
    )  # fmt: skip
    assert len(decoder) > moments[-1]
    pictures: Pictures = decoder.get_frames_at(list(moments)).data.numpy()
    return pictures


def read_decord(path: Path, moments: Sequence[int], threads: int) -> Pictures:
    """Read with decord, which resizes while it decodes."""
    import decord

    reader = decord.VideoReader(str(path), width=SIZE, height=SIZE, num_threads=threads)
    assert len(reader) > moments[-1]
    pictures: Pictures = reader.get_batch(list(moments)).asnumpy()
    return pictures


def read_pyav(path: Path, moments: Sequence[int], *, seeks: bool) -> Pictures:
    """Read with PyAV: in order, or by a seek for every frame."""
    import av

    taken = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if seeks:
            step = 1 / (stream.average_rate * stream.time_base)
            for moment in moments:
                wanted = (stream.start_time or 0) + round(moment * step)
                container.seek(wanted, stream=stream)
                taken.append(
                    next(f for f in container.decode(stream) if f.pts is not None and f.pts >= wanted)
                )
        else:
            chosen = set(moments)
            for number, frame in enumerate(container.decode(stream)):
                if number in chosen:
                    taken.append(frame)
                    if len(taken) == len(moments):
                        break
        return np.stack([f.to_ndarray(format="rgb24", width=SIZE, height=SIZE) for f in taken])


@dataclass(frozen=True, eq=False)
class Contender:
    """A reader with its settings.

    Args:
        library: Name of the library.
        way: The settings, in words.
        read: The function that reads.
        settings: Further arguments of the function.
    """

    library: str
    way: str
    read: Callable[..., Pictures]
    settings: dict[str, Any]


CONTENDERS = (
    Contender("vidlstm", "", read_ours, {}),
    Contender("torchcodec", "exact, 1 thread", read_torchcodec, {"seek_mode": "exact", "threads": 1}),
    Contender("torchcodec", "exact, all threads", read_torchcodec, {"seek_mode": "exact", "threads": 0}),
    Contender(
        "torchcodec", "approximate, 1 thread", read_torchcodec, {"seek_mode": "approximate", "threads": 1}
    ),
    Contender(
        "torchcodec", "approximate, all threads", read_torchcodec, {"seek_mode": "approximate", "threads": 0}
    ),
    Contender("decord", "1 thread", read_decord, {"threads": 1}),
    Contender("decord", "all threads", read_decord, {"threads": 0}),
    Contender("PyAV", "in order", read_pyav, {"seeks": False}),
    Contender("PyAV", "seeks", read_pyav, {"seeks": True}),
)


class ReaderProcess:
    """A contender in a separate process.

    Raises:
        RuntimeError: It does not start; the message gives the reason.
    """

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, contender), daemon=True)
        self._process.start()
        theirs.close()

    def read(self, path: Path, moments: Sequence[int]) -> tuple[Cost, Pictures]:
        """Read once.

        Raises:
            RuntimeError: Reading failed.
        """
        try:
            self._pipe.send((path, tuple(moments)))
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(1)
            raise RuntimeError(f"its process ended (exit code {self._process.exitcode})") from None
        if isinstance(answer, str):
            raise RuntimeError(answer)
        cost: Cost
        pictures: Pictures
        cost, pictures = answer
        return cost, pictures

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        self._process.kill()


def _serve(pipe: Any, contender: Contender) -> None:
    with contextlib.suppress(EOFError):
        while True:
            path, moments = pipe.recv()
            before = time.perf_counter(), time.process_time()
            try:
                pictures = contender.read(path, moments, **contender.settings)
            except Exception as error:  # a library's own exception
                pipe.send((str(error).strip().splitlines() or [type(error).__name__])[0])
            else:
                cost = Cost(time.perf_counter() - before[0], time.process_time() - before[1])
                pipe.send((cost, pictures))


@contextlib.contextmanager
def ffmpeg_for_torchcodec() -> Iterator[dict[str, str]]:
    """Yield the environment in which torchcodec finds FFmpeg, which it does not include.

    If the machine has none, the libraries in PyAV's package are used.
    """
    found = importlib.util.find_spec("av")
    folder = None if found is None or found.origin is None else Path(found.origin).parents[1] / "av.libs"
    if folder is None or not folder.is_dir():
        yield {}
        return
    with tempfile.TemporaryDirectory() as links:
        for library in folder.glob("lib*-*.so.*"):
            name, _, numbers = library.name.partition(".so.")
            (Path(links) / f"{name.rpartition('-')[0]}.so.{numbers.split('.')[0]}").symlink_to(library)
        known = os.environ.get("LD_LIBRARY_PATH", "")
        yield {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, (known, links, str(folder))))}
