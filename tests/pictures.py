"""Make the README's pictures from real runs on the sample videos.

    python -m tests.pictures

Writes `.github/images`. Needs Linux or macOS, and Chromium for the picture of the report.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.text import Text

from tests.cli.pseudo_terminal import terminal

_ROOT = Path(__file__).parents[1]
_IMAGES = _ROOT / ".github" / "images"
_COLUMNS = 92
_PREDICT = (
    "predict",
    "sample_videos/wave/person01_wave_d1.mp4",
    "sample_videos/stand_up/person01_stand_up_d1.mp4",
)
_FILM = "sample_videos/films/day01.mp4"
_MOMENTS = (3.5, 17.8, 29.0, 36.5)
"""Times in `_FILM`, in seconds, one within each of four actions."""


def main() -> None:
    """Run the commands in a copy of the sample videos, and write the pictures."""
    _IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(_ROOT / "sample_videos", home / "sample_videos")
        _save_terminal("train", _run(home, "train", "sample_videos"), lines_from="held-out clips right")
        odd = home / "sample_videos" / "old.avi"
        odd.touch()
        _save_terminal("predict", _run(home, *_PREDICT, "sample_videos/old.avi", status=1))
        _save_report(home / "runs" / "1" / "report.html")
        _run(home, "train", "sample_videos/films", "-o", "films", "--quiet")
        _run(home, "spans", _FILM, "-c", "films", "--overlay", "overlay", "--quiet")
        _save_strip(home / "overlay" / _FILM)


def _run(home: Path, *arguments: str, status: int = 0) -> str:
    seen = terminal(*arguments, cwd=home, columns=_COLUMNS)
    if seen.status != status:
        raise RuntimeError(f"vidlstm {' '.join(arguments)} ended with {seen.status}: {seen.raw[-2000:]}")
    return f"$ vidlstm {' '.join(arguments)}\n{seen.raw}"


def _save_terminal(name: str, raw: str, lines_from: str | None = None) -> None:
    """Write the final content of the terminal as a self-contained SVG.

    Args:
        name: Name of the file.
        raw: The command and its output.
        lines_from: Leave out the lines between the command and the first one with this text.
    """
    # A progress bar rewrites its line: the final text comes after the last carriage return.
    first, *lines = [line.rstrip("\r").rpartition("\r")[2] for line in raw.split("\n")]
    if lines_from is not None:
        lines = lines[next(n for n, line in enumerate(lines) if lines_from in line) :]
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi("\n".join((first, *lines)).rstrip()))
    picture = console.export_svg(title="", unique_id=name)
    (_IMAGES / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))


def _save_report(page: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise RuntimeError("Chromium is not installed")
    shot = page.with_suffix(".png")
    subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--hide-scrollbars", f"--screenshot={shot}",
         "--window-size=1000,1100", page.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    Image.open(shot).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(
        _IMAGES / "report.png", optimize=True
    )


def _save_strip(film: Path) -> None:
    """Write four moments of a film side by side."""
    frames: list[NDArray[np.uint8]] = []
    with av.open(film) as container:
        for frame in container.decode(video=0):
            if len(frames) < len(_MOMENTS) and frame.time is not None and frame.time >= _MOMENTS[len(frames)]:
                picture = frame.to_ndarray(format="rgb24")
                frames.append(np.asarray(cv2.resize(picture, (320, 240)), np.uint8))
    strip = np.concatenate(frames, axis=1)
    Image.fromarray(strip).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(
        _IMAGES / "spans.png", optimize=True
    )


if __name__ == "__main__":
    main()
