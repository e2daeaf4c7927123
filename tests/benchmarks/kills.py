"""Kill a command at random moments and resume it; is anything lost? `python -m tests.benchmarks.kills`

`predict` moves 24 clips into class folders; `train` trains a small model. Each is killed (SIGKILL, with all
its processes) after a random time and resumed until it ends, `--kills` times in all. Afterwards every clip
must be there exactly once with one row, and the run must hold a model. Not covered: crossval.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tiny import write_action

COMMAND = [sys.executable, "-m", "vidlstm"]
TRAINING = ["--streams", "motion", "--members", "1", "--epochs", "30"]


def killed(arguments: list[str], folder: Path, seconds: float) -> bool:
    """Run a command for so long at most; tell whether it had to be killed."""
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
        return False


def kill_predict(data: Path, model: Path, folder: Path, kills: int, rng: random.Random) -> None:
    left = kills
    while left:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(data, folder / "in")
        names = sorted(path.name for path in (folder / "in").rglob("*.avi"))
        arguments = ["predict", "-c", str(model), "--resume", "rows.tsv", "--move-to", "out", "in"]
        while killed(arguments, folder, rng.uniform(1, 6) if left else 600):
            left -= 1
        rows = sorted(
            Path(line.split("\t")[0]).name for line in (folder / "rows.tsv").read_text().splitlines()
        )
        found = [path for path in (folder / "out").rglob("*") if path.is_file()]
        assert rows == names, "one row a clip"
        assert sorted(path.name for path in found) == names, "every clip once"
        assert all(path.stat().st_size for path in found), "and whole"


def kill_train(data: Path, folder: Path, kills: int, rng: random.Random) -> None:
    left = kills
    while left:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run = folder / "runs" / "1"
        while True:
            resumed = (
                ["train", "--resume", "runs/1"] if (run / "config.json").exists() else ["train", str(data)]
            )
            overwrite = ["--out", "runs/1"] if resumed[1] == str(data) else []
            if not killed([*resumed, *TRAINING, *overwrite], folder, rng.uniform(2, 9) if left else 600):
                break
            left -= 1
        assert (run / "model.safetensors").stat().st_size
        assert killed(["info", "runs/1"], folder, 60) is False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for action in ("rise", "sink"):
            for performer in range(1, 13):
                write_action(
                    work / "data" / action / f"person{performer:02}_{action}_d1.avi", action, performer
                )
        assert not killed(["train", "data", *TRAINING, "--out", "run"], work, 600)
        kill_predict(work / "data", work / "run", work / "p", options.kills, rng)
        print(f"predict --move-to: {options.kills} kills, nothing lost")
        kill_train(work / "data", work / "t", options.kills, rng)
        print(f"train: {options.kills} kills, nothing lost")


if __name__ == "__main__":
    main()
