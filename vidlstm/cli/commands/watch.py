"""`vidlstm watch SOURCE`: find what happens when, live.

As in `predict`, everything cheap is checked first. Rows are written as the engine yields events. Programs and
recordings run in separate threads, fed by queues.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tqdm import tqdm
from typer import Argument, Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint, suggest_checkpoint
from vidlstm.cli.console import Console, Exit, command
from vidlstm.cli.rows.formats.live import LiveFormat, StatusLine, open_rows
from vidlstm.cli.rows.inputs import parse_seconds
from vidlstm.cli.rows.loop import interruptible
from vidlstm.cli.rows.output import when_reader_leaves
from vidlstm.cli.rows.sorting import folder_name
from vidlstm.engine.live.events import LiveEvent, LiveState
from vidlstm.engine.live.programs import Programs
from vidlstm.errors import UsageError
from vidlstm.records import NOVELTY_RATE

if TYPE_CHECKING:
    from vidlstm.config import ModelConfig
    from vidlstm.media.live.recorder import Recorder
    from vidlstm.media.live.window import Window

_BEFORE = 5.0  # seconds by which a recorded clip starts before its span
_SPARE = 10.0  # seconds by which a recording may be requested after its windows
_SHORTEST = 0.05  # minimum for --every, in seconds

EXAMPLES = (
    "vidlstm watch 0",
    "vidlstm watch rtsp://user:password@camera/1 --format jsonl --exec 'notify-send {event} {label}'",
    "vidlstm watch film.mp4 --realtime --record clips/",
)


@command
def watch(
    console_options: options.ConsoleOptions,
    source: Annotated[
        str,
        Argument(
            help="Camera number, device, rtsp:// or http:// address, or - for MJPEG or y4m on standard input."
        ),
    ],
    checkpoint: options.CheckpointOption = None,
    output_format: Annotated[
        LiveFormat | None,
        Option("--format", "-f", help="Output format.", show_default="table on a terminal, else tsv"),
    ] = None,
    every: Annotated[str, Option(help="Interval between scores.")] = "0.5s",
    delay: Annotated[
        str | None,
        Option(
            help="Decide after at most this many seconds. Shorter is less accurate.",
            show_default="as soon as it is certain",
        ),
    ] = None,
    exec_: Annotated[
        str | None,
        Option(
            "--exec",
            help="Run a program for each event; {label}, {event} and others are filled in. No shell.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    record: Annotated[
        Path | None,
        Option(
            help="Save each span as a clip in DIR/<label>/, with the 5 s before it.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    show: Annotated[
        bool,
        Option("--show", help="Show the video in a window. Press q to end.", rich_help_panel=options.FILES),
    ] = False,
    realtime: Annotated[
        bool,
        Option(
            "--realtime",
            help="Replay a file at the speed at which it was recorded.",
            rich_help_panel=options.FILES,
        ),
    ] = False,
    min_score: options.MinScoreOption = 0.0,
    min_duration: options.MinDurationOption = "0.5s",
    max_gap: options.MaxGapOption = "0.3s",
    novelty_rate: options.NoveltyRateOption = NOVELTY_RATE,
    device: options.DeviceOption = "auto",
    backend: options.BackendOption = "auto",
    precision: options.LabelPrecisionOption = None,
) -> int:
    """Watch a camera or stream live: a row when an action begins, and when it ends."""
    console = Console.of(console_options)
    tick = parse_seconds("--every", every)
    if tick < _SHORTEST:
        raise UsageError(f"--every {every}: must be at least {_SHORTEST} s")
    latest = None if delay is None else parse_seconds("--delay", delay)
    shortest, gap = parse_seconds("--min-duration", min_duration), parse_seconds("--max-gap", max_gap)

    from vidlstm.media.live.address import parse_address

    address = parse_address(source, realtime=realtime)
    path = find_checkpoint(console, checkpoint)

    if record is not None and record.exists() and not record.is_dir():
        raise UsageError(f"--record {record}: is a file; name a folder")

    from vidlstm.models.header import read_header

    config = read_header(path).config
    if config.kind != "video":
        suggest_checkpoint(console, checkpoint, "video")
        raise UsageError(f"{path}: labels pictures, but watching needs a model for videos")

    from vidlstm.engine.live.feed import Feed
    from vidlstm.engine.live.watch import WatchSettings
    from vidlstm.engine.live.watch import watch as watch_source
    from vidlstm.engine.spans.smoothing import SpanRules
    from vidlstm.engine.spans.windows import WindowGrid
    from vidlstm.media.live.sources import open_source

    WindowGrid.of(config)
    feed = Feed(lambda: open_source(address, feed.sleep), reopens=address.reopens)
    interrupted, reader_left = threading.Event(), threading.Event()

    def leave() -> None:
        reader_left.set()
        feed.end()

    with contextlib.ExitStack() as stack:
        status = StatusLine(stack.enter_context(console.bar(layout="{desc}")))
        settings = WatchSettings(
            every=tick,
            delay=latest,
            rules=SpanRules(shortest, gap, min_score),
            novelty_rate=novelty_rate,
            preview=status.is_shown,
        )
        warn = partial(_warn_beside, console)
        programs = None if exec_ is None else Programs(exec_, warn)
        if programs is not None:
            stack.callback(programs.close)
        recorder = None if record is None else _open_recorder(config, warn)
        if recorder is not None:
            stack.callback(recorder.close)
        window = _open_window(config) if show else None
        if window is not None:
            stack.callback(window.close)
        stack.enter_context(interruptible(interrupted, feed.end, (signal.SIGINT, signal.SIGTERM)))

        from vidlstm.engine.prediction.labeller import load_labeller

        labeller = load_labeller(path, device=device, backend=backend, precision=precision)
        sinks = _Sinks(output_format, status, programs, recorder, record, window)
        when_reader_leaves(leave)
        for item in watch_source(labeller, feed, settings):
            if reader_left.is_set():
                break
            if not sinks.take(item):
                feed.end()
        return Exit.INTERRUPTED if interrupted.is_set() else Exit.DONE


class _Sinks:
    """Passes on what the engine yields: to rows, status line, programs, recordings and window."""

    def __init__(
        self,
        output_format: LiveFormat | None,
        status: StatusLine,
        programs: Programs | None,
        recorder: Recorder | None,
        folder: Path | None,
        window: Window | None,
    ) -> None:
        self._write = open_rows(output_format or ("table" if sys.stdout.isatty() else "tsv"))
        self._status = status
        self._programs = programs
        self._recorder = recorder
        self._folder = folder
        self._window = window
        self._label: str | None = None

    def take(self, item: object) -> bool:
        """Pass on an item; return False once the window has been closed."""
        if isinstance(item, LiveEvent):
            self._tell(item)
        elif isinstance(item, LiveState):
            self._label = item.label
            self._status.show(item)
        else:
            return self._see(item)
        return True

    def _tell(self, event: LiveEvent) -> None:
        with tqdm.external_write_mode():
            self._write(event)
        if self._programs is not None:
            self._programs.run(event)
        if self._recorder is not None and self._folder is not None and event.label is not None:
            if event.event == "start":
                name = event.clock.replace(":", "-")
                since = time.monotonic() - event.delay - _BEFORE
                self._recorder.begin(self._folder / folder_name(event.label) / f"{name}.mp4", since)
            else:
                self._recorder.end()

    def _see(self, frame: object) -> bool:
        from vidlstm.media.live.sources import LiveFrame

        assert isinstance(frame, LiveFrame)
        if self._recorder is not None:
            self._recorder.add(frame)
        return self._window is None or self._window.show(frame.image, self._label)


def _open_recorder(config: ModelConfig, warn: Callable[[str], None]) -> Recorder:
    from vidlstm.media.live.recorder import Recorder

    longest = 0.0 if config.spans is None else config.spans.windows[-1]
    return Recorder(_BEFORE + longest + _SPARE, warn)


def _open_window(config: ModelConfig) -> Window:
    from vidlstm.media.live.window import Window

    return Window(config.classes)


def _warn_beside(console: Console, text: str) -> None:
    with tqdm.external_write_mode():
        console.warn(text)
