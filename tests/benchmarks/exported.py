"""Does an exported model give the same rows, equally fast, from a small installation?

Run by hand: `python -m tests.benchmarks.exported RUN CLIPS_FOLDER [--repeats 3]`. Exports the run for
onnxruntime and OpenVINO, labels all clips with each of them and with the run itself, in turn, and compares
labels, scores and CPU seconds. Then installs numpy, opencv-python-headless and onnxruntime into a new virtual
environment (needs a package index) and runs the exported program there. Exits with 1 if a label differs, a
score differs by more than 1e-4, or a row of the program differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime")
MOST = 1e-4

Rows = list[dict[str, Any]]


def cpu_seconds(*command: str | Path) -> tuple[float, str]:
    """Run a command; return the CPU seconds of all its processes, and what it printed."""
    before = os.times()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, done.stdout


def label(model: Path, clips: list[str], *options: str) -> tuple[float, Rows]:
    given = ("-q", "-c", str(model), "-f", "jsonl", "--top-k", "99", "--workers", "1", *options)
    seconds, out = cpu_seconds(sys.executable, "-m", "vidlstm", "predict", *given, *clips)
    return seconds, [json.loads(line) for line in out.splitlines()]


def difference(rows: Rows, wanted: Rows) -> tuple[int, float, float]:
    """Return how many labels differ, and the largest difference of a score and of novelty."""
    labels, scores, novelty = 0, 0.0, 0.0
    for row, right in zip(rows, wanted, strict=True):
        mine, theirs = ({s["label"]: s["score"] for s in r["top"]} for r in (row, right))
        labels += row["label"] != right["label"] or row["top"][0]["label"] != right["top"][0]["label"]
        scores = max(scores, *(abs(mine[name] - theirs[name]) for name in theirs))
        novelty = max(novelty, abs(row["novelty"] - right["novelty"]))
    return labels, scores, novelty


def small_installation(folder: Path) -> Path:
    """Make a virtual environment with what the exported program needs; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    clips = sorted(str(path) for path in options.clips.rglob("*") if path.suffix in (".avi", ".mp4", ".mkv"))
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for networks in ("onnx", "openvino"):
            command = (sys.executable, "-m", "vidlstm", "export", options.run, "-f", networks)
            cpu_seconds(*command, "-o", folder / networks)
            size = sum(file.stat().st_size for file in (folder / networks).iterdir())
            print(f"exported for {networks}: {size / 1e6:.1f} MB")
        ways: dict[str, tuple[Path, tuple[str, ...]]] = {
            "torch": (options.run, ("--backend", "torch")),
            "run, OpenVINO": (options.run, ("--backend", "openvino")),
            "exported, onnx": (folder / "onnx", ()),
            "exported, openvino": (folder / "openvino", ()),
        }
        label(options.run, clips[:1], "--backend", "openvino")  # converts and caches the networks
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        rows: dict[str, Rows] = {}
        for _ in range(options.repeats):
            for way, (model, more) in ways.items():
                used, rows[way] = label(model, clips, *more)
                seconds[way].append(used)
        for way in ways:
            labels, scores, novelty = difference(rows[way], rows["torch"])
            failed |= bool(labels) or scores > MOST
            ratios = [
                sorted(own / base for own, base in zip(seconds[way], seconds[other], strict=True))
                for other in ("torch", "run, OpenVINO")
            ]
            by_torch, by_openvino = (ratio[len(ratio) // 2] for ratio in ratios)
            print(
                f"{way}: {min(seconds[way]):.1f} CPU s for {len(clips)} clips, "
                f"{by_torch:.2f} times torch, {by_openvino:.2f} times the run in OpenVINO; "
                f"labels that differ: {labels}, scores by {scores:.1e}, novelty by {novelty:.1e}"
            )
        python = small_installation(folder / "venv")
        size = sum(
            f.lstat().st_size for f in (folder / "venv").rglob("*") if f.is_file() and not f.is_symlink()
        )
        _, wanted = cpu_seconds(
            sys.executable, "-m", "vidlstm", "predict", "-q", "-c", options.run, "-f", "tsv", *clips
        )
        used, printed = cpu_seconds(python, folder / "onnx" / "predict.py", *clips)
        pairs = list(zip(printed.splitlines(), wanted.splitlines(), strict=True))
        other = [pair for pair in pairs if pair[0] != pair[1]]
        failed |= bool(other)
        print(
            f"predict.py in a new environment of {size / 1e6:.0f} MB: {used:.1f} CPU s, "
            f"rows that differ: {len(other)}"
        )
        for mine, theirs in other[:9]:
            print(f"  {mine!r} for {theirs!r}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
