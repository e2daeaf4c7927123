"""Training the encoder with the rest of the model, on pixels that are read again in every epoch."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.engine.toys import QUICK
from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.engine.extraction.extractor import Extracted, Extractor
from vidlstm.engine.extraction.pixels import PixelReader
from vidlstm.engine.training.loop.encoder_training import EncoderTraining
from vidlstm.engine.training.loop.members import Part
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import views_of
from vidlstm.errors import DataError, FailureCode
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.classifier import Classifier
from vidlstm.models.encoders import Encoder
from vidlstm.records import Problem

SIDE, STEPS, VIEWS = 12, 3, 2
CONFIG = replace(QUICK, batch_size=6, encoder_learning_rate=0.02, mixup=0.4)
MODEL = ModelConfig("video", ("up", "down"), ("rgb",), views=1, mirror=False, members=1).changed(
    head={"hidden": 6, "projection": 5}
)


def small_encoder() -> Encoder:
    def stage(inputs: int, *after: nn.Module) -> nn.Sequential:
        layers = [
            ("conv", nn.Conv2d(inputs, 4, 3, 2, bias=False)),
            ("bn", nn.BatchNorm2d(4)),
            ("act", nn.ReLU()),
        ]
        return nn.Sequential(OrderedDict([*layers, *((f"last{i}", m) for i, m in enumerate(after))]))

    stages = nn.Sequential(stage(3), stage(4, nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Encoder(stages, (127.0,) * 3, (60.0,) * 3, 4)


def pixels(number: int) -> ClipFeatures:
    """Return a clip of a bright bar that moves up or down."""
    rng = np.random.default_rng(number)
    frames = rng.integers(0, 90, (1, VIEWS, STEPS, SIDE, SIDE, 3), dtype=np.uint8)
    for step in range(STEPS):
        row = 3 * step if number % 2 else 3 * (STEPS - 1 - step)
        frames[:, :, step, row + 1 : row + 3] = 220
    return ClipFeatures({"rgb": frames}, {})


class Reader(PixelReader):
    """Reads from memory."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[list[ClipFeatures]]:
        for batch in batches:
            self.asked += batch.tolist()
            yield [pixels(number) for number in batch.tolist()]


def make(
    config: TrainConfig = CONFIG,
    *,
    unfrozen: int | None = 1,
    warm_start: bool = False,
    keeps_statistics: bool = True,
    num_clips: int = 20,
    device: str = "cpu",
) -> tuple[Trainer, Encoder]:
    torch.manual_seed(config.seed)
    encoder, classifier = small_encoder(), Classifier(MODEL, {"rgb": 4})
    encoder.eval()
    with torch.inference_mode():
        clips = [
            ClipFeatures(
                {
                    "rgb": encoder(torch.from_numpy(values[0]).flatten(0, 1).permute(0, 3, 1, 2))
                    .view(1, VIEWS, STEPS, 4).half().numpy()
                },
                {},
            )
            for values in (pixels(n).sequences["rgb"] for n in range(num_clips))
        ]  # fmt: skip
    encoder.to(device).unfreeze(unfrozen, keeps_statistics=keeps_statistics)
    everything = np.arange(num_clips)
    part = Part(everything[:-4], everything[-4:])
    learning = EncoderTraining(encoder, Reader(), flips=False, warm_start=warm_start)
    trainer = Trainer(
        classifier.to(device), clips, everything % 2, [part], config,
        mix_views=True, views=views_of(MODEL), mirror=False, encoder_training=learning,
    )  # fmt: skip
    return trainer, encoder


def run(trainer: Trainer) -> list[float]:
    losses = [report.train_loss for report in trainer.run()]
    trainer.finish()
    return losses


def state(trainer: Trainer, encoder: Encoder) -> dict[str, Tensor]:
    return {**trainer.classifier.state_dict(), **encoder.state_dict(prefix="encoder.")}


def changed(before: dict[str, Tensor], encoder: Encoder) -> set[str]:
    """Return the names of the layers in which anything has changed."""
    return {
        ".".join(name.split(".")[1:3])
        for name, value in encoder.state_dict().items()
        if not torch.equal(value, before[name])
    }


@pytest.mark.parametrize(("unfrozen", "learning"), [(1, {"1"}), (2, {"0", "1"}), (None, {"0", "1"})])
def test_only_the_unfrozen_stages_are_trained_and_statistics_stay(
    unfrozen: int | None, learning: set[str]
) -> None:
    trainer, encoder = make(unfrozen=unfrozen)
    before = copy.deepcopy(encoder.state_dict())
    run(trainer)
    assert changed(before, encoder) == {f"{stage}.{layer}" for stage in learning for layer in ("conv", "bn")}
    for name, value in encoder.state_dict().items():
        if "running" in name or "tracked" in name:
            assert torch.equal(value, before[name])


def test_an_encoder_from_scratch_also_trains_its_statistics() -> None:
    trainer, encoder = make(unfrozen=None, keeps_statistics=False)
    before = copy.deepcopy(encoder.state_dict())
    run(trainer)
    assert not torch.equal(
        encoder.state_dict()["stages.1.bn.running_mean"], before["stages.1.bn.running_mean"]
    )


def test_the_encoder_has_its_own_learning_rate() -> None:
    trainer, encoder = make(replace(CONFIG, encoder_learning_rate=1e-12))
    before = copy.deepcopy(encoder.state_dict())
    losses = run(trainer)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=0)
    assert losses != run(make()[0])


def test_half_precision_gives_nearly_the_same() -> None:
    plain, half = make(), make()
    assert half[0].encoder_training is not None
    half[0].encoder_training = replace(half[0].encoder_training, bfloat16=True)
    assert run(half[0]) == pytest.approx(run(plain[0]), rel=0.02)
    assert {value.dtype for value in half[1].parameters()} == {torch.float32}


def test_training_reduces_the_loss() -> None:
    eager = replace(CONFIG, epochs=40, mixup=0.0, patience=0, learning_rate=0.02, label_smoothing=0.0)
    losses = run(make(eager, unfrozen=None)[0])
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("setting", [{"accumulate": 2}, {"accumulate": 5}, {"checkpointing": True}])
def test_saving_memory_changes_the_result_only_by_rounding(setting: dict[str, int]) -> None:
    plain, sparing = make(), make(replace(CONFIG, **setting))  # type: ignore[arg-type]
    assert run(sparing[0]) == pytest.approx(run(plain[0]), abs=1e-5)
    for name, value in state(*plain).items():
        torch.testing.assert_close(state(*sparing)[name], value, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_run_is_bit_identical(after: int) -> None:
    unbroken = make()
    run(unbroken[0])
    broken = make()
    reports = broken[0].run()
    for _ in range(after):
        next(reports)
    resumed = make()
    resumed[0].restore(copy.deepcopy(broken[0].state()))
    run(resumed[0])
    assert all(torch.equal(value, state(*resumed)[name]) for name, value in state(*unbroken).items())


def test_each_epoch_reads_the_training_clips_once_and_the_held_out_ones_once() -> None:
    trainer, _ = make(replace(CONFIG, epochs=1))
    run(trainer)
    assert trainer.encoder_training is not None
    assert isinstance(trainer.encoder_training.reader, Reader)
    asked = trainer.encoder_training.reader.asked
    assert sorted(asked[:16]) == [*range(16)]
    assert asked[16:20] == [16, 17, 18, 19]


class TestNeverWorse:
    def test_the_start_counts_as_epoch_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        script = iter([1.0, 2.0, 1.5, 3.0])
        monkeypatch.setattr(Trainer, "_validate", lambda self: (next(script), 0.5))
        trainer, encoder = make(replace(CONFIG, epochs=3), warm_start=True)
        before = copy.deepcopy(state(trainer, encoder))
        run(trainer)
        assert (trainer.epoch, trainer.best_epoch) == (3, 0)
        after = state(trainer, encoder)
        kept = [
            name
            for name in before
            if name not in ("fusion", "temperature", "floor") and "novelty" not in name
        ]
        assert all(torch.equal(before[name], after[name]) for name in kept)

    def test_patience_counts_from_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        script = iter([1.0, 2.0, 2.0])
        monkeypatch.setattr(Trainer, "_validate", lambda self: (next(script), 0.5))
        trainer, _ = make(replace(CONFIG, epochs=9, patience=2), warm_start=True)
        assert len(run(trainer)) == 2

    def test_an_untrained_start_keeps_the_first_epoch(self) -> None:
        trainer, _ = make(replace(CONFIG, epochs=1))
        run(trainer)
        assert trainer.best_epoch == 1


def test_a_missing_clip_is_named() -> None:
    class Gone(Extractor):
        def __init__(self) -> None:
            pass

        def extract(self, paths: object) -> Iterator[Extracted]:
            yield Extracted(Path("a.mp4"), None, None, Problem(FailureCode.NOT_FOUND, "does not exist"))

    with pytest.raises(DataError, match=r"a\.mp4: could be read when training started.*`resume`"):
        next(PixelReader(Gone(), [Path("a.mp4")]).read([np.array([0])]))
