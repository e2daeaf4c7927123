"""The promises of `vidlstm watch`, measured on local sources: `python -m tests.benchmarks.live`.

    replay MODEL FILM...     events of a film played in real time compared with `vidlstm spans`: F1@50
    lag MODEL FILM           lag of each event, by its row and by the clock of the server
    restarts MODEL FILM      the source killed and restarted: seconds until it is found again, repeated events
    programs MODEL FILM      lag while `--exec` programs hang, fail or print
    soak MODEL FILM          memory and open files, every 10 s, into a CSV; the C library's allocator is
                             limited by MALLOC_ARENA_MAX=1 and MALLOC_MMAP_THRESHOLD_=262144 in the
                             environment, a leak is not; --stall 3: frames pile up as on a busy machine

`--rtsp` uses an RTSP server instead of MJPEG over HTTP; it needs GStreamer's for the system's Python
(Debian: gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad, python3-gi).
Films are enlarged to 1280x720. Other load on the machine increases the lags.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tests.mjpeg import MjpegServer
from vidlstm.media.encode import TICK, add_h264
from vidlstm.metrics.segments import Matches, count_matches
from vidlstm.records import Span

SIZE = (1280, 720)
FPS = 25.0
COMMAND = (sys.executable, "-m", "vidlstm")
RTSP = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={sys.argv[2]} ! qtdemux ! h264parse ! "
    "rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
server.get_mount_points().add_factory("/film", factory)
server.attach(None)
print("up", flush=True)
GLib.MainLoop().run()
"""


class RtspServer:
    """Serves a film over RTSP; every connection starts at its beginning.

    Args:
        film: H.264 in MP4.
        port: Port to listen on.
    """

    def __init__(self, film: Path, port: int) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/film"
        self.port = port
        self._process = subprocess.Popen(
            ["/usr/bin/python3", "-c", RTSP, str(port), str(film)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def close(self) -> None:
        """Kill the server."""
        self._process.kill()
        self._process.wait()


class Sources:
    """Starts servers of one film.

    Args:
        film: The film.
        folder: Folder for derived files.
        rtsp: Serve it over RTSP instead of MJPEG over HTTP.
        seconds: Maximum length of the served part, in seconds.
    """

    def __init__(self, film: Path, folder: Path, rtsp: bool, seconds: float) -> None:
        self._rtsp = rtsp
        self._port = 8654 if rtsp else 0
        images = (image for image, time in _frames(film) if time < seconds)
        if rtsp:
            self._film = folder / "film.mp4"
            _write_h264(self._film, images)
        else:
            self._pictures = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]

    def start(self) -> MjpegServer | RtspServer:
        """Start a server, always at the same address."""
        if self._rtsp:
            return RtspServer(self._film, self._port)
        server = MjpegServer(self._pictures, FPS, self._port)
        self._port = server.port
        return server


def _frames(film: Path) -> Iterator[tuple[Any, float]]:
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            yield cv2.resize(frame.to_ndarray(format="bgr24"), SIZE), float(frame.time or 0.0)


def _write_h264(path: Path, images: Iterator[Any]) -> None:
    with av.open(str(path), "w") as made:
        stream: Any = add_h264(made, SIZE[1], SIZE[0], FPS)
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "g": "25"}
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(number / FPS / TICK), TICK
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))


class Watch:
    """`vidlstm watch` as a process; its rows are read as they arrive."""

    def __init__(self, *arguments: str) -> None:
        self.rows: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*COMMAND, "watch", *arguments, "-f", "jsonl"], stdout=subprocess.PIPE
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.rows.append({**json.loads(line), "read": time.time()})

    def wait_for(self, event: str, number: int, seconds: float) -> float | None:
        """Return when the n-th row of a kind was read; None if it does not arrive in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            found = [row["read"] for row in self.rows if row["event"] == event]
            if len(found) >= number:
                return float(found[number - 1])
            time.sleep(0.02)
        return None

    def stop(self) -> None:
        """End it as with Ctrl-C."""
        self.process.terminate()
        self.process.wait(30)


def replay(options: argparse.Namespace) -> None:
    """Compare the events of replayed films with the spans of the same files."""
    total = Matches()
    for film in options.films:
        spans = subprocess.run(
            [*COMMAND, "spans", film, "-c", options.model, "-f", "jsonl"], stdout=subprocess.PIPE, check=True
        )
        rows = [json.loads(line) for line in spans.stdout.splitlines()]
        truth = [Span(r["start"], r["end"], r["label"]) for r in rows if r["label"]]
        watch = Watch(film, "-c", options.model, "--realtime", *options.more)
        watch.process.wait()
        found = [Span(r["start"], r["end"], r["label"]) for r in watch.rows if r["event"] == "end"]
        matches = count_matches(truth, found, 0.5)
        total += matches
        dropped = watch.rows[-1]["dropped"] if watch.rows else 0
        print(f"{film}: {len(truth)} spans, {len(found)} live, F1@50 {matches.f1:.3f}, dropped {dropped}")
    print(f"all: F1@50 {total.f1:.3f}")


def lag(options: argparse.Namespace) -> None:
    """Measure the lag of each event."""
    with _sources(options) as sources:
        server = sources.start()
        watch = Watch(server.url, "-c", options.model, *options.more)
        time.sleep(options.seconds)
        watch.stop()
        edges = [row for row in watch.rows if row["event"] in ("start", "end")][: -1 or None]
        _show("by the rows", [row["lag"] for row in edges])
        _show("delay of starts", [row["delay"] for row in edges if row["event"] == "start"])
        if isinstance(server, MjpegServer):
            by_server = []
            for row in edges:
                moment = row["start"] if row["event"] == "start" else row["end"]
                frame = round((moment + row["delay"] - row["lag"]) * FPS)
                if 0 <= frame < len(server.sent):
                    by_server.append(row["read"] - server.sent[frame])
            _show("by the server's clock", by_server)
        print("dropped", watch.rows[-1]["dropped"] if watch.rows else 0)
        server.close()


def restarts(options: argparse.Namespace) -> None:
    """Kill and restart the source ten times."""
    with _sources(options) as sources:
        server = sources.start()
        watch = Watch(server.url, "-c", options.model, *options.more)
        time.sleep(15)
        found = []
        for number in range(1, 11):
            server.close()
            watch.wait_for("lost", number, 30)
            time.sleep(0.7 * number)
            began = time.time()
            server = sources.start()
            back = watch.wait_for("back", number, 60)
            found.append(float("inf") if back is None else max(0.0, back - began))
            time.sleep(12)
        watch.stop()
        server.close()
        _show("found again after", found)
        kinds = [row["event"] for row in watch.rows]
        edges = [(r["event"], r["label"], r["start"], r["end"]) for r in watch.rows if r["label"]]
        open_label, wrong = None, 0
        for kind, label, *_ in edges:
            wrong += (open_label is not None) if kind == "start" else (open_label != label)
            open_label = label if kind == "start" else None
        counts = {kind: kinds.count(kind) for kind in ("lost", "back", "start", "end")}
        print(f"{counts}, doubled {len(edges) - len(set(edges))}, out of order {wrong}")


def programs(options: argparse.Namespace) -> None:
    """Measure the lag while programs hang or fail."""
    hang = f"{sys.executable} -c 'import time; time.sleep(1000)'"
    fail = f"{sys.executable} -c 'raise SystemExit(3)'"
    for name, template in (("none", None), ("hangs", hang), ("fails", fail)):
        with _sources(options) as sources:
            server = sources.start()
            more = [] if template is None else ["--exec", template]
            watch = Watch(server.url, "-c", options.model, *more, *options.more)
            time.sleep(options.seconds)
            watch.stop()
            server.close()
            edges = [row["lag"] for row in watch.rows if row["event"] in ("start", "end")]
            _show(f"exec {name}", edges[:-1])


def soak(options: argparse.Namespace) -> None:
    """Write memory and open files of a long run to a CSV."""
    with _sources(options) as sources, options.csv.open("w") as file:
        server = sources.start()
        watch = Watch(server.url, "-c", options.model, *options.more)
        place = Path(f"/proc/{watch.process.pid}")
        began = time.monotonic()
        print("seconds,rss_mb,heap_mb,open_files,threads,rows", file=file)
        curve = []
        while time.monotonic() - began < options.seconds and watch.process.poll() is None:
            fields = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
            rss, heap = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
            curve.append(heap)
            files, threads = len(list((place / "fd").iterdir())), int(fields["Threads"])
            now = time.monotonic() - began
            row = f"{now:.0f},{rss:.1f},{heap:.1f},{files},{threads},{len(watch.rows)}"
            print(row, file=file, flush=True)
            time.sleep(10)
            if options.stall and len(curve) % 3 == 0:
                watch.process.send_signal(signal.SIGSTOP)
                time.sleep(options.stall)
                watch.process.send_signal(signal.SIGCONT)
        watch.stop()
        server.close()
    quarters = [f"{min(part):.0f} to {max(part):.0f}" for part in np.array_split(curve, 4) if len(part)]
    kinds = [row["event"] for row in watch.rows]
    print(
        f"heap by quarter of the time, between clips to while one is recorded: {', '.join(quarters)} MB; "
        f"{kinds.count('end')} spans, lost {kinds.count('lost')} times, {files} open files, {threads} threads"
    )


@contextlib.contextmanager
def _sources(options: argparse.Namespace) -> Iterator[Sources]:
    with tempfile.TemporaryDirectory() as folder:
        yield Sources(options.films[0], Path(folder), options.rtsp, options.film_seconds)


def _show(what: str, values: list[float]) -> None:
    if not values:
        print(f"{what}: none")
        return
    median, high, most = np.quantile(values, [0.5, 0.95, 1.0])
    print(f"{what}: median {median:.2f} s, 95th percentile {high:.2f} s, most {most:.2f} s ({len(values)})")


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["replay", "lag", "restarts", "programs", "soak"])
    parser.add_argument("model")
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--rtsp", action="store_true")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the measurement")
    parser.add_argument("--film-seconds", type=float, default=60.0, help="of the film, at most")
    parser.add_argument("--stall", type=float, default=0.0, help="soak: seconds it is stopped, every 30 s")
    parser.add_argument("--csv", type=Path, default=Path("live_soak.csv"))
    options, more = parser.parse_known_args()
    options.more = more
    measure = {"replay": replay, "lag": lag, "restarts": restarts, "programs": programs, "soak": soak}
    measure[options.what](options)


if __name__ == "__main__":
    main()
