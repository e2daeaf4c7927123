"""A GPU gives the results of the CPU, up to rounding. Skipped if torch has no usable GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vidlstm
from tests.cli.conftest import ROOT, write_clip
from tests.cli.conftest import vidlstm as run
from tests.engine import test_finetuning as finetuning
from tests.engine.toys import QUICK, make_trainer, ordered
from tests.films import write_films
from vidlstm.config import EncoderConfig, HeadKind, Precision
from vidlstm.engine.scoring import read_clips
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import View
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.backends.torch import TorchEncoder
from vidlstm.models.encoders import build_encoder

GPU = "cuda"
ROUNDING = 2e-3  # of a score; an LSTM on a GPU computes in TF32
SMALL = ("--size", "32", "--hidden", "8", "--members", "2", "--workers", "2", "--epochs", "2", "--quiet")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


def scores(trainer: Trainer, clips: Sequence[ClipFeatures]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities `(N, K)` and novelty `(N,)`."""
    classifier = trainer.classifier.eval()
    read, novelty = read_clips(classifier, clips, [View()], classifier.fusion.device)
    return classifier.fuse(read).softmax(-1).cpu(), novelty.cpu()


def rows(*arguments: str | Path) -> dict[str, tuple[str, float]]:
    """Run `predict`; return label and score of each clip."""
    ended = run("predict", *arguments, "--format", "jsonl", "--novelty-rate", "0", "--workers", "2")
    assert ended.status == 0, ended.err
    found = map(json.loads, ended.lines)
    return {row["path"]: (row["label"], row["score"]) for row in found}


def same_rows(one: dict[str, tuple[str, float]], other: dict[str, tuple[str, float]], within: float) -> bool:
    return one.keys() == other.keys() and all(
        one[path][0] == other[path][0] and abs(one[path][1] - other[path][1]) < within for path in one
    )


class TestNetworks:
    @pytest.mark.parametrize("head", ["lstm", "gru", "mean"])
    def test_scores_and_novelty_of_clips_of_many_lengths(self, head: HeadKind) -> None:
        clips, labels = ordered(30)
        trainer = make_trainer(clips, labels, head=head)
        for _ in trainer.run():
            pass
        trainer.finish()
        expected = scores(trainer, clips)
        trainer.classifier.to(GPU)
        for given, wanted in zip(scores(trainer, clips), expected, strict=True):
            torch.testing.assert_close(given, wanted, atol=ROUNDING, rtol=0)

    def test_a_clip_s_scores_do_not_depend_on_its_batch_mates(self) -> None:
        clips, labels = ordered(12)
        trainer = make_trainer(clips, labels, device=GPU)
        together = scores(trainer, clips)[0]
        alone = torch.cat([scores(trainer, [clip])[0] for clip in clips])
        torch.testing.assert_close(together, alone, atol=ROUNDING, rtol=0)

    @pytest.mark.parametrize("head", ["lstm", "mean"])
    def test_training(self, head: HeadKind) -> None:
        clips, labels = ordered(30)
        trainers = [make_trainer(clips, labels, head=head, device=device) for device in ("cpu", GPU)]
        losses = [[report.train_loss for report in trainer.run()] for trainer in trainers]
        assert losses[1] == pytest.approx(losses[0], rel=0.02)
        for trainer in trainers:
            trainer.finish()
        assert bool(trainers[1].classifier.novelty.levels[-1] > 0)

    @pytest.mark.parametrize(("precision", "relative"), [("float32", 2e-3), ("bfloat16", 0.15)])
    def test_features(self, precision: Precision, relative: float) -> None:
        encoder = build_encoder(EncoderConfig("efficientnet_lite0")).eval()
        pictures = np.random.default_rng(0).integers(0, 256, (150, 64, 64, 3), np.uint8)
        expected = TorchEncoder(encoder, 2)(pictures).astype(np.float32)
        given = TorchEncoder(encoder.to(GPU), 2, precision)(pictures)
        assert given.shape == expected.shape
        off = np.linalg.norm(given.astype(np.float32) - expected) / np.linalg.norm(expected)
        assert off < relative

    @pytest.mark.parametrize(
        "changes",
        [{}, {"accumulate": 2}, {"checkpointing": True}],
        ids=["plain", "accumulate", "checkpointing"],
    )
    def test_fine_tuning(self, changes: dict[str, int]) -> None:
        config = replace(finetuning.CONFIG, **changes)  # type: ignore[arg-type]
        losses = [finetuning.run(finetuning.make(config, device=device)[0]) for device in ("cpu", GPU)]
        assert losses[1] == pytest.approx(losses[0], rel=0.02)

    def test_fine_tuning_in_half_precision(self) -> None:
        trainer, encoder = finetuning.make(device=GPU)
        assert trainer.encoder_training is not None
        trainer.encoder_training = replace(trainer.encoder_training, bfloat16=True)
        expected = finetuning.run(finetuning.make()[0])
        assert finetuning.run(trainer) == pytest.approx(expected, rel=0.05)
        assert {value.dtype for value in encoder.parameters()} == {torch.float32}

    @pytest.mark.parametrize(("first", "second"), [(GPU, GPU), (GPU, "cpu"), ("cpu", GPU)])
    def test_training_resumes_from_a_state_of_either_device(self, first: str, second: str) -> None:
        expected = finetuning.run(finetuning.make()[0])
        trainer = finetuning.make(device=first)[0]
        reports = trainer.run()
        begun = [next(reports).train_loss for _ in range(2)]
        resumed = finetuning.make(device=second)[0]
        resumed.restore(trainer.state())
        assert begun + finetuning.run(resumed) == pytest.approx(expected, rel=0.02)

    def test_class_weights_are_on_the_device_of_the_networks(self) -> None:
        clips, labels = ordered(30)
        trainer = make_trainer(clips, labels, device=GPU, config=replace(QUICK, balance="loss", epochs=1))
        assert len(list(trainer.run())) == 1


@pytest.fixture(scope="module")
def frozen(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose encoder is frozen, trained on the GPU."""
    folder = tmp_path_factory.mktemp("frozen") / "1"
    ended = run("train", tiny_data, "--streams", "rgb", *SMALL, "--device", GPU, "--out", folder)
    assert ended.status == 0, ended.err
    return folder


@pytest.mark.slow
class TestCommands:
    def test_rows_equal_those_of_the_cpu(self, frozen: Path, tiny_data: Path) -> None:
        cpu, gpu, half = (
            rows(tiny_data, "-c", frozen, "--device", device, *more)
            for device, *more in (("cpu", "--backend", "torch"), (GPU,), (GPU, "--precision", "bfloat16"))
        )
        assert len(cpu) == 12
        assert same_rows(gpu, cpu, 0.01)
        assert half.keys() == cpu.keys()

    def test_auto_uses_the_gpu(self, frozen: Path, tiny_data: Path) -> None:
        before = torch.cuda.memory_stats()["allocation.all.allocated"]
        rows(tiny_data / "rise", "-c", frozen)
        assert torch.cuda.memory_stats()["allocation.all.allocated"] > before

    def test_eval_and_crossval(self, frozen: Path, tiny_data: Path) -> None:
        for device in ("cpu", GPU):
            ended = run("eval", tiny_data, "-c", frozen, "--device", device, "--split", "all", "--json")
            assert ended.status == 0, ended.err
        options = [word for word in SMALL if word != "--quiet"]
        ended = run("crossval", tiny_data, *options, "--folds", "2", "--device", GPU, "--json", "--no-cache")
        assert ended.status == 0, ended.err
        assert json.loads(ended.out)["num_clips"] == 12

    @pytest.mark.parametrize(
        "options",
        [
            ("--unfreeze", "all"),
            ("--unfreeze", "1", "--precision", "float32", "--checkpointing", "--accumulate", "2"),
        ],
        ids=["bfloat16", "float32"],
    )
    def test_a_fine_tuned_encoder_also_predicts_on_the_cpu(
        self, options: tuple[str, ...], frozen: Path, tiny_data: Path, tmp_path: Path
    ) -> None:
        fine = ("--device", GPU, "--epochs", "2", "--workers", "2", "--encoder-lr", "0.001")
        ended = run("train", tiny_data, "--from", frozen, *options, *fine, "--out", tmp_path / "fine")
        assert ended.status == 0, ended.err
        cpu, gpu = (rows(tiny_data, "-c", tmp_path / "fine", "--device", d) for d in ("cpu", GPU))
        assert same_rows(gpu, cpu, 0.01)

    def test_the_simple_encoder_is_trained_on_the_gpu(self, tiny_data: Path, tmp_path: Path) -> None:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.max_memory_allocated()
        options = ("--encoder", "simple", "--epochs", "2", "--workers", "2", "--device", GPU)
        ended = run("train", tiny_data, *options, "--out", tmp_path / "simple")
        assert ended.status == 0, ended.err
        assert torch.cuda.max_memory_allocated() > before
        cpu, gpu = (rows(tiny_data, "-c", tmp_path / "simple", "--device", d) for d in ("cpu", GPU))
        assert same_rows(gpu, cpu, 0.01)

    def test_two_layers(self, tiny_data: Path, tmp_path: Path) -> None:
        size = ("--size", "32", "--hidden", "8", "--workers", "2", "--epochs", "2", "--quiet")
        options = ("--streams", "rgb", "--layers", "2", "--unfreeze", "1", *size, "--device", GPU)
        ended = run("train", tiny_data, *options, "--out", tmp_path / "two")
        assert ended.status == 0, ended.err
        cpu, gpu = (rows(tiny_data, "-c", tmp_path / "two", "--device", d) for d in ("cpu", GPU))
        assert same_rows(gpu, cpu, 0.01)

    @pytest.mark.parametrize("second", [GPU, "cpu"])
    def test_a_run_is_resumed(self, second: str, frozen: Path, tiny_data: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        fine = ("--unfreeze", "1", "--workers", "2")
        begun = run(
            "train", tiny_data, "--from", frozen, *fine, "--epochs", "1", "--device", GPU, "--out", out
        )
        assert begun.status == 0, begun.err
        more = ("--resume", out, "--allow-changes", "--epochs", "2", "--workers", "2", "--device", second)
        ended = run("train", tiny_data, *more)
        assert ended.status == 0, ended.err
        assert "Resumed after epoch 1 of 2" in ended.err
        assert len((out / "metrics.jsonl").read_text().splitlines()) == 2

    def test_spans(self, tmp_path: Path) -> None:
        table = write_films(tmp_path, 4)
        ended = run("train", table, "--streams", "rgb", *SMALL, "--device", GPU, "--out", tmp_path / "run")
        assert ended.status == 0, ended.err
        film = tmp_path / "film0.avi"
        found = [
            run("spans", film, "-c", tmp_path / "run", "--device", d, "--workers", "1") for d in ("cpu", GPU)
        ]
        assert [f.status for f in found] == [0, 0]
        assert [line.split("\t")[:4] for line in found[0].lines] == [
            line.split("\t")[:4] for line in found[1].lines
        ]

    def test_a_missing_gpu(self, frozen: Path, tiny_data: Path, tmp_path: Path) -> None:
        for command in (
            ("predict", tiny_data, "-c", frozen),
            ("train", tiny_data, "--out", tmp_path / "run"),
        ):
            ended = run(*command, "--device", "cuda:99")
            assert ended.status == 2
            assert (
                "--device cuda:99: not available; this machine and this torch have only cuda:0" in ended.err
            )
        ended = run("predict", tiny_data, "-c", frozen, "--device", GPU, "--backend", "openvino")
        assert ended.status == 2
        assert "Traceback" not in ended.err

    def test_python(self, frozen: Path, tmp_path: Path) -> None:
        clip = write_clip(tmp_path / "clip.avi")
        with vidlstm.load(frozen, device=GPU, workers=1) as model:
            (first,) = model.predict(clip)
            (frames,) = model.predict(np.zeros((12, 48, 64, 3), np.uint8), fps=12)
        assert isinstance(first, vidlstm.Prediction)
        assert isinstance(frames, vidlstm.Prediction)


NCCL = """
import torch, torch.distributed as dist
from vidlstm.engine import distributed
from vidlstm.engine.devices import choose_device

world = distributed.World(0, 2)  # one process that takes the way of several
distributed.World.from_environment = staticmethod(lambda: world)
device = choose_device("cuda", 0, 1)
start = dist.init_process_group
dist.init_process_group = lambda backend, **settings: start(
    backend, **settings, init_method="tcp://127.0.0.1:29511", rank=0, world_size=1)
with distributed.process_group(device) as there:
    some = [torch.ones(3, device=device), torch.full((2, 2), 2.0, device=device)]
    there.all_reduce(some)
    there.all_reduce([torch.ones(2)])
    parts = [None]
    dist.all_gather_object(parts, [1, 2])
    print(dist.get_backend(), parts, there.broadcast("x"), [x.sum().item() for x in some])
"""


@pytest.mark.slow
def test_processes_communicate_with_nccl() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", NCCL], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[[1, 2]] x [3.0, 8.0]" in done.stdout


@pytest.mark.slow
def test_torchrun_with_one_process(tiny_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    train = ["-m", "vidlstm", "train", os.fspath(tiny_data), *SMALL, "--device", GPU, "--out", "run"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(ROOT), *sys.path])}
    done = subprocess.run(
        [*command, *train], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()
