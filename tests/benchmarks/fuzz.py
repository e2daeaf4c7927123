"""Damaged films: does any of them crash, hang, open something else, or show uninitialised memory?

Small clips of thirteen codecs and containers are damaged in eight ways, and read as by `predict` and by
`spans`, each twice: decoded by one thread and by four, in processes whose fresh memory is filled with
different bytes (glibc's `MALLOC_PERTURB_`). The expected result is the same frames both times, or a code.
Nothing may be written to standard error, and no socket opened.

    python -m tests.benchmarks.fuzz [--files 500] [--seed 0] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.sweep import Case, write

CASES = (
    Case("", "libx264", "mp4", options={"bf": "2", "g": "12"}),
    Case("", "libx264", "ts", options={"x264-params": "tff=1"}),
    Case("", "libx265", "mkv"),
    Case("", "libvpx-vp9", "webm"),
    Case("", "libvpx", "webm"),
    Case("", "libsvtav1", "mp4"),
    Case("", "mpeg4", "avi", options={"bf": "1"}),
    Case("", "mpeg2video", "mpg"),
    Case("", "mjpeg", "avi", "yuvj420p"),
    Case("", "wmv2", "wmv"),
    Case("", "flv", "flv"),
    Case("", "ffv1", "mkv"),
    Case("", "prores_ks", "mov", "yuv422p10le"),
)
SECONDS = 60
"""Seconds after which a file counts as hanging."""


def read_files(num_threads: str, *names: str) -> None:
    """Print the result of reading each file. Runs in a separate process."""
    from vidlstm.config import Sampling
    from vidlstm.errors import InputError
    from vidlstm.media.clips import ClipSpec, PairSpec, read_clip
    from vidlstm.media.films import FilmSpec, read_film
    from vidlstm.media.opencv import decode_with

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith("socket."):
            print(json.dumps({"socket": repr(arguments)}), flush=True)

    sys.addaudithook(watch)
    decode_with(int(num_threads))
    for name in names:
        print(json.dumps({"starts": name}), flush=True)
        try:
            clip = read_clip(Path(name), ClipSpec(Sampling(num_frames=8), size=64, pairs=PairSpec(0.08, 64)))
            assert clip.pairs is not None
            digest = hashlib.sha256(clip.frames.tobytes() + clip.pairs.tobytes()).hexdigest()
            outcome = {"digest": digest, "problem": clip.info.problem is not None, "notes": clip.info.notes}
            film = hashlib.sha256()
            for part in read_film(Path(name), FilmSpec(8, 64, PairSpec(0.08, 64))):
                film.update(part.frames.tobytes() + part.times.tobytes())
            outcome["film"] = film.hexdigest()
        except InputError as error:
            outcome = {"code": error.code.value}
        print(json.dumps({"name": name, **outcome}), flush=True)


Outcome = dict[str, object]


def read_in_process(paths: Sequence[Path], fill: int, num_threads: int) -> dict[str, Outcome]:
    """Read files in a process with memory filled with `fill`, replaced by a new one if it ends early."""
    left = [str(path) for path in paths]
    found: dict[str, Outcome] = {}
    env = {**os.environ, "MALLOC_PERTURB_": str(fill), "OMP_NUM_THREADS": "1"}
    while left:
        batch = left[:25]
        command = [
            sys.executable,
            "-c",
            "from tests.benchmarks.fuzz import read_files; import sys; read_files(*sys.argv[1:])",
            str(num_threads),
        ]
        how = "crash"
        try:
            done = subprocess.run(
                [*command, *batch], env=env, capture_output=True, text=True, timeout=SECONDS + len(batch)
            )
            output, errors = done.stdout, done.stderr
        except subprocess.TimeoutExpired as error:
            how = "hang"
            output, errors = (
                b.decode() if isinstance(b, bytes) else "" for b in (error.stdout, error.stderr)
            )
        current = ""
        for line in map(json.loads, output.splitlines()):
            current = line.get("starts", current)
            if "name" in line:
                found[line["name"]] = line
            elif "socket" in line:
                found[current] = {"code": f"SOCKET {line['socket']}"}
        missing = [name for name in batch if name not in found]
        if errors.strip():
            found[current] = {"code": f"STDERR {errors.strip().splitlines()[-1]}"}
        if missing:
            found[missing[0]] = {"code": how.upper()}
        left = [name for name in left if name not in found]
    return found


Damage = Callable[[bytearray, np.random.Generator], bytearray]


def _place(content: bytearray, rng: np.random.Generator) -> int:
    return int(rng.integers(0, max(len(content), 1)))


def flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Flip a few random bits."""
    for _ in range(int(rng.integers(1, 40))):
        content[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def overwrite(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Overwrite a section with noise."""
    start, length = _place(content, rng), int(rng.integers(1, 600))
    content[start : start + length] = rng.bytes(len(content[start : start + length]))
    return content


def blank(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Overwrite a section with zeros, like a bad sector."""
    start, length = _place(content, rng), int(rng.integers(1, 4096))
    content[start : start + length] = bytes(len(content[start : start + length]))
    return content


def cut(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Remove the end."""
    return content[: _place(content, rng)]


def behead(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Remove the beginning."""
    return content[int(rng.integers(1, 400)) :]


def remove(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Remove a section in the middle."""
    start = _place(content, rng)
    del content[start : start + int(rng.integers(1, 1000))]
    return content


def repeat(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Repeat a section."""
    start = _place(content, rng)
    part = content[start : start + int(rng.integers(1, 1000))]
    content[start:start] = part
    return content


def exaggerate(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Put huge or negative numbers into the header."""
    for _ in range(int(rng.integers(1, 6))):
        start = int(rng.integers(0, min(len(content), 1500)))
        value = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0"][int(rng.integers(4))]
        content[start : start + 4] = value
    return content


DAMAGES: tuple[Damage, ...] = (flip_bits, overwrite, blank, cut, behead, remove, repeat, exaggerate)


def main() -> int:
    """Make and read the files, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sources = [path for case in CASES if (path := write(case, folder, 40)) is not None]
        paths, kinds = [], {}
        for number in range(options.files):
            source = sources[number % len(sources)]
            damage = DAMAGES[number // len(sources) % len(DAMAGES)]
            path = folder / f"{number:04}_{damage.__name__}{source.suffix}"
            path.write_bytes(damage(bytearray(source.read_bytes()), rng))
            paths.append(path)
            kinds[str(path)] = damage.__name__
        first, second = (read_in_process(paths, *how) for how in ((85, 1), (170, 4)))
    table: dict[str, Counter[str]] = {}
    for name, outcome in first.items():
        if outcome == second[name]:
            kind = str(outcome.get("code") or ("truncated" if outcome["problem"] else "frames"))
        else:
            kind = f"GARBAGE {second[name]}"
        if kind.split()[0].isupper():
            print(name, kind, outcome, sep="\n  ")
        table.setdefault(kinds[name], Counter())[kind.split()[0]] += 1
    for damage_name, row in table.items():
        print(damage_name, dict(row), sep="\t")
    total = sum(table.values(), Counter[str]())
    print("all", dict(total), sep="\t")
    return 1 if any(kind.isupper() for kind in total) else 0


if __name__ == "__main__":
    sys.exit(main())
