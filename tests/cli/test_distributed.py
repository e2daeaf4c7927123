"""Several processes under torchrun train one model with the same result as a single process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import ROOT, vidlstm
from tests.tiny import write_action
from vidlstm.engine.distributed import World

CPU = ("--device", "cpu")  # on a machine with one GPU, two processes would have to share it
FROZEN = (*CPU, "--streams", "motion", "--epochs", "3", "--members", "2", "--hidden", "8", "--workers", "1")
FINE = (*CPU, "--unfreeze", "1", "--epochs", "2", "--workers", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for action in ("rise", "sink"):
        for performer in range(1, 8):
            write_action(folder / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    (folder / "sink" / "person07_sink_d1.avi").unlink()  # so that nothing divides evenly
    return folder


def torchrun(size: int, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(size), "--master-port", "0",
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "vidlstm", "train",
         *[os.fspath(a) for a in arguments]],
        cwd=cwd, env={**os.environ, "PYTHONPATH": os.fspath(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def same(one: Path, other: Path) -> bool:
    """Tell whether two runs have the same weights up to rounding."""
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    return all(torch.allclose(first[name], second[name], atol=2e-3, rtol=1e-2) for name in first)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines for name in ("train_loss", "val_loss", "val_top1")]


class TestShares:
    @pytest.mark.parametrize("total", [0, 1, 5, 12])
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_every_item_belongs_to_one_process(self, total: int, size: int) -> None:
        shares = [World(rank, size).shard(range(total)) for rank in range(size)]
        assert sorted(item for share in shares for item in share) == [*range(total)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1

    def test_a_single_process_keeps_everything(self) -> None:
        world, tensor = World(), torch.ones(3)
        world.all_reduce([tensor])
        assert (world.gather([1, 2]), world.broadcast("x"), tensor.tolist()) == ([1, 2], "x", [1, 1, 1])

    def test_torchrun_sets_rank_and_world_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert World.from_environment() == World()
        for name, value in {"RANK": 3, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
            monkeypatch.setenv(name, str(value))
        assert World.from_environment() == World(3, 4, 2, 1)
        assert not World.from_environment().is_main


def test_two_processes_give_the_result_of_one(data: Path, tmp_path: Path) -> None:
    assert vidlstm("train", data, *FROZEN, "--quiet", "--out", tmp_path / "one").status == 0
    world = torchrun(2, data, *FROZEN, "--out", "two", "--json", cwd=tmp_path)
    out, err = world.communicate(timeout=120)
    assert world.returncode == 0, err
    assert out.count("\n") == 1  # only one process prints
    assert json.loads(out)["num_clips"] == {"train": 11, "held_out": 2, "val": 2, "unreadable": 0}
    assert err.count("Run folder: two") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    assert same(tmp_path / "one", tmp_path / "two")


def test_fine_tuning_is_distributed_and_a_run_with_a_dead_process_can_be_resumed(
    data: Path, tmp_path: Path
) -> None:
    start = ("--streams", "rgb", "--size", "32", "--epochs", "2", "--hidden", "8", "--members", "2")
    assert vidlstm("train", data, *start, "--quiet", "--out", tmp_path / "start").status == 0
    fine = (*FINE, "--from", tmp_path / "start")
    assert vidlstm("train", data, *fine, "--quiet", "--out", tmp_path / "one").status == 0

    world = torchrun(2, data, *fine, "--out", "two", cwd=tmp_path)
    while not (tmp_path / "two" / "last.pt").exists():
        time.sleep(0.01)
        assert world.poll() is None
    listed = subprocess.run(["pgrep", "-P", str(world.pid)], capture_output=True, text=True, check=True)
    os.kill(int(listed.stdout.split()[1]), signal.SIGKILL)
    _, err = world.communicate(timeout=120)
    assert world.returncode != 0
    assert "continue with --resume" in err
    assert not (tmp_path / "two" / "model.safetensors").exists()

    assert vidlstm("train", data, "--resume", tmp_path / "two", *CPU, "--workers", "1").status == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    assert same(tmp_path / "one", tmp_path / "two")
