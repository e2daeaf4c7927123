"""`vidlstm watch` as a process: rows, exit statuses, signals, pipes, and invalid sources."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import pytest

from tests.cli.conftest import COMMAND, ROOT, vidlstm
from tests.films import FPS, write_film
from tests.mjpeg import MjpegServer

STORY = ("rest", "rise", "sink", "rest")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "film.avi"
    write_film(path, 9, STORY)
    return path


@pytest.fixture(scope="module")
def pictures(film: Path) -> list[bytes]:
    with av.open(str(film)) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    return [cv2.imencode(".jpg", image)[1].tobytes() for image in images]


@pytest.fixture
def camera(pictures: list[bytes]) -> Iterator[MjpegServer]:
    with MjpegServer(pictures, FPS) as server:
        yield server


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "watch", *(str(argument) for argument in arguments), "--backend", "torch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def check_rows(rows: list[dict[str, object]]) -> None:
    """Check that every span that starts also ends, before the next one starts."""
    kinds = [row["event"] for row in rows if row["label"] is not None]
    assert kinds == ["start", "end"] * (len(kinds) // 2)
    for row in rows:
        keys = (
            "schema",
            "time",
            "event",
            "label",
            "score",
            "start",
            "end",
            "lag",
            "delay",
            "dropped",
            "reason",
        )
        assert tuple(row) == keys
        assert row["label"] in ("rise", "sink", None)
        assert float(str(row["lag"])) >= 0


@pytest.mark.slow
def test_a_file_in_real_time(film: Path, film_run: Path, tmp_path: Path) -> None:
    process = start(film, "--realtime", "-c", film_run, "-f", "jsonl", "--record", tmp_path / "clips")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    check_rows(rows)
    starts = [row for row in rows if row["event"] == "start"]
    assert starts
    clips = sorted((tmp_path / "clips").rglob("*.mp4"))
    assert len(clips) == len(starts)
    assert {clip.parent.name for clip in clips} == {row["label"] for row in starts}
    for clip in clips:
        with av.open(str(clip)) as container:
            assert next(container.decode(video=0)).width == 64
    assert not list((tmp_path / "clips").rglob(".*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_open_spans_and_exits_with_130(
    number: signal.Signals, camera: MjpegServer, film_run: Path
) -> None:
    process = start(camera.url, "-c", film_run, "-f", "jsonl", "--delay", "0.5s")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    rows = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert rows[0]["event"] == "start"
    check_rows(rows)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_source_that_is_lost_and_returns(pictures: list[bytes], film_run: Path) -> None:
    server = MjpegServer(pictures, FPS)
    process = start(server.url, "-c", film_run)
    assert process.stdout is not None
    while not server.sent:
        time.sleep(0.05)
    time.sleep(1.0)
    server.close()
    lost = process.stdout.readline().rstrip("\n").split("\t")
    while lost[1] != "lost":
        lost = process.stdout.readline().rstrip("\n").split("\t")
    with MjpegServer(pictures, FPS, server.port):
        back = process.stdout.readline().rstrip("\n").split("\t")
        process.terminate()
        process.communicate(timeout=60)
    assert lost[8].startswith(f"{server.url}: ")
    assert back[1:6] == ["back", "", "", "", ""]
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a pipeline of a Unix shell")
def test_a_closed_pipe_ends_it_silently(camera: MjpegServer, film_run: Path) -> None:
    with start(camera.url, "-c", film_run, "--delay", "0.5s") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mjpeg", "y4m"])
def test_frames_on_standard_input(kind: str, film: Path, film_run: Path, pictures: list[bytes]) -> None:
    data = b"".join(pictures) if kind == "mjpeg" else y4m_of(film)
    done = subprocess.run(
        [*COMMAND, "watch", "-", "-c", str(film_run), "--backend", "torch"],
        input=data,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")  # all at once: the rows depend on the dropped frames


def y4m_of(film: Path) -> bytes:
    out = io.BytesIO()
    with av.open(str(film)) as source, av.open(out, "w", format="yuv4mpegpipe") as made:
        stream = made.add_stream("wrapped_avframe", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in source.decode(video=0):
            made.mux(stream.encode(frame.reformat(format="yuv420p")))
        made.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        (["nowhere"], 2, "nowhere: is not a live source; give a camera number, a device"),
        (["0", "--every", "soon"], 2, "--every soon: give seconds, such as 0.5s or 300ms"),
        (["0", "--every", "0"], 2, "--every 0: must be at least 0.05 s"),
        (["0", "--delay", "x"], 2, "--delay x: give seconds"),
        (["rtsp://u:secret@c/1", "--realtime"], 2, "--realtime: rtsp://u:***@c/1 is live"),
        (["ftp://u:secret@c/1"], 2, "ftp://u:***@c/1: ftp:// is not supported"),
        (
            ["0", "--exec", "no-such-program"],
            2,
            "--exec no-such-program: program no-such-program not found",
        ),
        (["63"], 2, "camera 63: cannot be opened; is it connected"),
        (
            ["http://u:secret@127.0.0.1:1/"],
            2,
            "http://u:***@127.0.0.1:1/: cannot be opened: Connection refused",
        ),
    ],
)
def test_invalid_sources(film_run: Path, given: list[str], status: int, message: str) -> None:
    outcome = vidlstm("watch", *given, "-c", film_run)
    assert (outcome.status, outcome.out) == (status, "")
    assert outcome.err.startswith(f"vidlstm: {message}")
    assert "secret" not in outcome.err


@pytest.mark.skipif(os.name == "nt", reason="displays of Unix")
def test_without_a_display_there_is_no_window(film_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    outcome = vidlstm("watch", "0", "-c", film_run, "--show")
    assert outcome.status == 2
    assert outcome.err == "vidlstm: --show: there is no display; leave it out, or set DISPLAY\n"


def test_clips_need_a_folder(film_run: Path, film: Path) -> None:
    outcome = vidlstm("watch", "0", "-c", film_run, "--record", film)
    assert (outcome.status, outcome.err) == (2, f"vidlstm: --record {film}: is a file; name a folder\n")


def test_a_model_without_windows_is_refused_with_a_hint(model: Path) -> None:
    outcome = vidlstm("watch", "0", "-c", model)
    assert outcome.status == 2
    assert "it has no window lengths; train it again" in outcome.err
