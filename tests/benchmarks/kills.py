"""Kill a command at random times and start it again; is anything lost? `python -m tests.benchmarks.kills`

`predict` moves 24 clips into class folders and is resumed, `train` trains a small model and is resumed,
`crossval --out` is started again. Each is killed (SIGKILL) after a random part of its usual duration,
`--kills` times in total: every second time with all of its processes, otherwise only the main process, whose
workers must then end by themselves.

After every kill, every file with its final name must be complete. At the end every clip must exist once, with
one row, and the run and the report must have the same figures as without a kill.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.wholeness import ROWS, faults_of_folder, faults_of_moving
from tests.tiny import write_action

COMMAND = [sys.executable, "-m", "vidlstm"]
TRAINING = ["--streams", "motion", "--members", "1", "--epochs", "30"]
PREDICTING = ["predict", "--resume", ROWS, "--move-to", "out", "in"]
_ORPHANS_END = 30.0  # seconds


@dataclass
class Killer:
    """Runs commands and kills them.

    Attributes:
        left: Number of kills left.
        seconds: Usual duration of the command.
        faults: Faults found so far.
    """

    folder: Path
    rng: random.Random
    left: int
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def run(self, arguments: Sequence[str]) -> bool:
        """Run a command; tell whether it was killed."""
        limit = self.rng.uniform(0, self.seconds) if self.left else 3600
        with subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True, text=True,
        ) as process:  # fmt: skip
            try:
                _, said = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                self.left -= 1
                if self.left % 2:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
                    process.wait()
                    self._await_orphans(process.pid)
                return True
            if process.returncode:
                last = said.strip().splitlines()[-3:]
                self.faults.append(f"{arguments[0]} exits with {process.returncode}: {last}")
            return False

    def _await_orphans(self, session: int) -> None:
        end = time.monotonic() + _ORPHANS_END
        while _is_alive(session):
            if time.monotonic() > end:
                self.faults.append(f"processes of session {session} live on")
                os.killpg(session, signal.SIGKILL)
                return
            time.sleep(0.1)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill_predict(data: Path, model: Path, killer: Killer) -> int:
    """Return how many times all clips were moved."""
    folder, rounds = killer.folder, 0
    while killer.left:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(data, folder / "in")
        names = sorted(path.name for path in (folder / "in").rglob("*.avi"))
        while killer.run([*PREDICTING, "-c", str(model)]):
            killer.faults += faults_of_moving(folder, names, is_done=False)
        killer.faults += faults_of_moving(folder, names, is_done=True)
        rounds += 1
    return rounds


def kill_train(data: Path, whole: Path, killer: Killer) -> int:
    """Return how many times the training was completed."""
    folder, rounds = killer.folder, 0
    while killer.left:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run = folder / "run"
        while True:
            resumed = ["--resume", "run"] if (run / "config.json").exists() else ["--out", "run"]
            if not killer.run(["train", str(data), *TRAINING, *resumed]):
                break
            killer.faults += faults_of_folder(run)
        killer.faults += faults_of_folder(run)
        if (run / "predictions.csv").read_text() != (whole / "predictions.csv").read_text():
            killer.faults.append("predictions.csv is not that of a training without kills")
        rounds += 1
    return rounds


def kill_crossval(data: Path, whole: Path, killer: Killer) -> int:
    """Return how many times the cross-validation was completed."""
    folder, rounds = killer.folder, 0
    while killer.left:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        command = ["crossval", str(data), *TRAINING, "--folds", "3", "--out", "report", "--overwrite"]
        while killer.run(command):
            killer.faults += faults_of_folder(folder / "report")
        killer.faults += faults_of_folder(folder / "report")
        if _truth(folder / "report" / "predictions.csv") != _truth(whole / "predictions.csv"):
            killer.faults.append("predictions.csv is not that of a cross-validation without kills")
        rounds += 1
    return rounds


def _truth(file: Path) -> list[list[str]]:
    with file.open(newline="") as lines:
        return list(csv.reader(lines))


def main() -> int:
    """Kill the commands, and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    found: dict[str, Killer] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = work / "data"
        for action in ("rise", "sink"):
            for performer in range(1, 13):
                write_action(data / action / f"person{performer:02}_{action}_d1.avi", action, performer)
        shutil.copytree(data, work / "in")
        unkilled = Killer(work, rng, 0)
        seconds: dict[str, float] = {}
        for command in (
            ["train", str(data), *TRAINING, "--out", "run"],
            ["crossval", str(data), *TRAINING, "--folds", "3", "--out", "report"],
            [*PREDICTING, "-c", str(work / "run")],
        ):
            start = time.monotonic()
            unkilled.run(command)
            seconds[command[0]] = time.monotonic() - start
        assert not unkilled.faults, unkilled.faults
        for what in ("predict --move-to", "train", "crossval"):
            killer = found[what] = Killer(
                work / what.split()[0], rng, options.kills, seconds[what.split()[0]]
            )
            if what == "train":
                rounds = kill_train(data, work / "run", killer)
            elif what == "crossval":
                rounds = kill_crossval(data, work / "report", killer)
            else:
                rounds = kill_predict(data, work / "run", killer)
            print(f"{what}: {options.kills} kills, {rounds} times to the end, {len(killer.faults)} faults")
            print(json.dumps(killer.faults, indent=1) if killer.faults else "", end="", flush=True)
    return 1 if any(killer.faults for killer in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
