"""Are the files complete after a power cut at a random time?

    unshare --mount python -m tests.benchmarks.power_cuts

A small ext4 image is mounted, and `train` and then `predict --move-to` write to it. At random times, also
after the command has ended, the image is copied without the data that the kernel has not written yet. Each
copy is mounted: every file with its final name must be complete, every moved clip must have its row, and
`--resume` must complete both commands. Needs root, Linux, mkfs.ext4 and a free loop device. `unshare` gives
the process its own list of mounts: what is still mounted when it is killed goes with it, and does not keep
its folder from being removed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.kills import COMMAND, PREDICTING, TRAINING
from tests.benchmarks.wholeness import faults_of_folder, faults_of_moving
from tests.tiny import write_action

_MEGABYTES = 64


def can_mount() -> bool:
    """Tell whether an image can be mounted here."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mkfs.ext4"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(make_image(Path(folder) / "try.img"), Path(folder) / "try"):
                return True
        except subprocess.CalledProcessError:
            return False


def make_image(image: Path) -> Path:
    """Make an empty ext4 file system in a file."""
    with image.open("wb") as file:
        file.truncate(_MEGABYTES * 2**20)
    _run("mkfs.ext4", "-q", str(image))
    return image


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount an image, and unmount it at the end."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        _run("umount", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def vidlstm(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def copies_of(
    image: Path, arguments: Sequence[str], folder: Path, cuts: int, rng: random.Random, seconds: float
) -> list[Path]:
    """Run a command on an image, and copy the image at random times, and once right after its end."""
    moments = sorted(rng.uniform(0.2, 1.0) * seconds for _ in range(cuts - 1))
    made = []
    start = time.monotonic()
    with vidlstm(arguments, folder) as process:
        for number, moment in enumerate(moments):
            while time.monotonic() < start + moment and process.poll() is None:
                time.sleep(0.01)
            made.append(_copy(image, number))
        assert process.wait() == 0
    return [*made, _copy(image, cuts - 1)]


def _copy(image: Path, number: int) -> Path:
    copy = image.with_name(f"{image.stem}_{number}.img")
    _run("cp", "--sparse=always", str(image), str(copy))
    return copy


def cut_train(work: Path, data: Path, cuts: int, rng: random.Random, seconds: float) -> list[str]:
    """Return the incomplete files in copies of the image that `train` writes to."""
    image = make_image(work / "train.img")
    faults: list[str] = []
    with mounted(image, work / "live") as live:
        copies = copies_of(image, ["train", str(data), *TRAINING, "--out", "run"], live, cuts, rng, seconds)
    for number, copy in enumerate(copies):
        with mounted(copy, work / "copy") as folder:
            run = folder / "run"
            found = faults_of_folder(run)
            is_begun = (run / "config.json").exists()
            if number == cuts - 1 and not (run / "model.safetensors").exists():
                found.append("the command had ended, and there is no model")
            again = ["--resume", "run"] if is_begun else ["--out", "again"]
            if vidlstm(["train", str(data), *TRAINING, *again], folder).wait():
                found.append(f"{' '.join(again)} fails")
            faults += [f"train, cut {number}: {fault}" for fault in found]
        copy.unlink()
    return faults


def cut_predict(
    work: Path, data: Path, model: Path, cuts: int, rng: random.Random, seconds: float
) -> list[str]:
    """Return the losses in copies of the image on which `predict` moves clips."""
    image = make_image(work / "predict.img")
    faults: list[str] = []
    command = [*PREDICTING, "-c", str(model)]
    with mounted(image, work / "live") as live:
        shutil.copytree(data, live / "in")
        names = sorted(path.name for path in (live / "in").rglob("*.avi"))
        os.sync()
        copies = copies_of(image, command, live, cuts, rng, seconds)
    for number, copy in enumerate(copies):
        with mounted(copy, work / "copy") as folder:
            found = faults_of_moving(folder, names, is_done=False)
            if vidlstm(command, folder).wait():
                found.append("--resume fails")
            found += faults_of_moving(folder, names, is_done=True)
            faults += [f"predict, cut {number}: {fault}" for fault in found]
        copy.unlink()
    return faults


def cut_power(work: Path, cuts: int, seed: int) -> list[str]:
    """Cut the power this many times during each command; return the faults."""
    rng = random.Random(seed)
    data = work / "data"
    for action in ("rise", "sink"):
        for performer in range(1, 13):
            write_action(data / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    start = time.monotonic()
    assert vidlstm(["train", str(data), *TRAINING, "--out", "run"], work).wait() == 0
    seconds = time.monotonic() - start
    faults = cut_train(work, data, cuts, rng, seconds)
    return faults + cut_predict(work, data, work / "run", cuts, rng, seconds / 2)


def main() -> int:
    """Cut the power, and print the faults. Exit status 2: no image can be mounted here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=12, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not can_mount():
        print("an image cannot be mounted here: needs root, Linux, mkfs.ext4 and a loop device")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        faults = cut_power(Path(folder), options.cuts, options.seed)
    print(f"{options.cuts} cuts of train, {options.cuts} of predict --move-to: {len(faults)} faults")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
