"""The baseline: the same streams without the order of the steps, shown next to every accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.engine.toys import QUICK, extracted, model_config, ordered, shaped
from vidlstm.config import ModelConfig
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.training.baseline import score_with_baseline, train_baseline
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.models.checkpoint import Model, baseline_config, load_model, read_header, serialise
from vidlstm.report.findings import cautions

TRAINING = replace(QUICK, epochs=16, learning_rate=0.02)
LEARNED, HELD_OUT = range(60), range(60, 90)


def toy(kind: str) -> Clips:
    clips, labels = ordered(90) if kind == "ordered" else shaped(90)
    return extracted(clips, labels, [f"g{i // 6}" for i in range(90)])


def trained(clips: Clips) -> Model:
    model = start_model(model_config(), clips, None, TRAINING.seed)
    trainer = make_trainer(model, clips, LEARNED, TRAINING)
    list(trainer.run())
    trainer.finish()
    list(train_baseline(model, clips, LEARNED, TRAINING))
    return model


@pytest.fixture(scope="module")
def clips() -> Clips:
    return toy("ordered")


@pytest.fixture(scope="module")
def model(clips: Clips) -> Model:
    return trained(clips)


class TestWhatItIs:
    def test_the_model_with_a_head_that_ignores_order(self) -> None:
        config = ModelConfig.default("video", ("a", "b")).changed(members=3, views=5)
        baseline = baseline_config(config)
        assert baseline is not None
        assert baseline.head.kind == "mean"
        assert baseline.changed(head={"kind": "lstm"}) == config

    def test_a_model_that_ignores_order_has_none(self) -> None:
        assert baseline_config(model_config("mean")) is None

    def test_the_baseline_uses_a_fine_tuned_encoder_as_if_frozen(self) -> None:
        config = ModelConfig.default("picture", ("a", "b"), "simple")
        assert baseline_config(config) == config.changed(head={"kind": "mean"})


class TestTraining:
    def test_depends_on_the_seed_and_does_not_change_the_model(self, clips: Clips, model: Model) -> None:
        before = {name: tensor.clone() for name, tensor in model.classifier.state_dict().items()}
        assert model.baseline is not None
        first = model.baseline.state_dict()
        torch.rand(3)  # earlier random draws must not matter
        other = replace(model, baseline=None)
        list(train_baseline(other, clips, LEARNED, TRAINING))
        assert other.baseline is not None
        assert all(torch.equal(first[name], tensor) for name, tensor in other.baseline.state_dict().items())
        assert all(
            torch.equal(before[name], tensor) for name, tensor in model.classifier.state_dict().items()
        )

    def test_holds_out_what_the_model_holds_out(
        self, clips: Clips, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fresh parts would hold out clips that the branches from the model were trained on."""
        other = replace(model, baseline=None)
        names = [sample.name(clips.dataset.root) for sample in clips.dataset.samples]
        left_out = [set(names[:6]), set(names[6:18])]
        parts = make_trainer(other, clips, LEARNED, TRAINING, left_out=left_out, learned=names).parts
        used = []
        monkeypatch.setattr(Trainer, "calibrate", lambda self, *, novelty: used.append(self.parts))
        list(train_baseline(other, clips, LEARNED, TRAINING, parts))
        assert [[part.val.tolist() for part in some] for some in used] == [[[*range(6)], [*range(6, 18)]]]

    def test_of_the_same_parts_is_the_same(self, clips: Clips, model: Model) -> None:
        other = replace(model, baseline=None)
        trainer = make_trainer(start_model(model_config(), clips, None, 0), clips, LEARNED, TRAINING)
        list(train_baseline(other, clips, LEARNED, TRAINING, trainer.parts))
        assert model.baseline is not None
        assert other.baseline is not None
        pairs = zip(model.baseline.state_dict().values(), other.baseline.state_dict().values(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)

    def test_learns_problems_without_order(self) -> None:
        clips = toy("shaped")
        report = score_with_baseline(trained(clips), clips, HELD_OUT)
        assert report.baselines["mean"] > 0.8
        assert any("the difference is within chance" in line for line in cautions(report))


class TestReport:
    def test_the_baseline_cannot_use_the_order(self, clips: Clips, model: Model) -> None:
        report = score_with_baseline(model, clips, HELD_OUT)
        assert report.baselines.keys() == {"majority", "mean"}
        assert report.top1 > 0.9
        assert report.baselines["mean"] == pytest.approx(0.5, abs=0.15)
        assert report.baseline is not None
        assert 0 < report.baseline.gain.low < report.top1 - report.baseline.top1 < report.baseline.gain.high
        assert not any("within chance" in line for line in cautions(report))
        assert report.to_json()["baselines"] == report.baselines

    def test_an_unreadable_clip_is_a_mistake_of_both(self, clips: Clips, model: Model) -> None:
        gone = list(clips.extracted)
        for i in (60, 61):
            gone[i] = replace(gone[i], features=None)
        some = score_with_baseline(model, replace(clips, extracted=tuple(gone)), HELD_OUT)
        assert some.baseline is not None
        assert some.baseline.top1 <= 28 / 30
        assert score_with_baseline(model, replace(clips, extracted=tuple(gone)), [60, 61]).baselines == {
            "majority": 0.5,
            "mean": 0.0,
        }

    def test_without_a_baseline_only_the_majority_class_is_named(self, clips: Clips, model: Model) -> None:
        report = score_with_baseline(replace(model, baseline=None), clips, HELD_OUT)
        assert report.to_json()["baselines"] == {"majority": 0.5}
        assert report.to_json()["gain_ci95"] is None


class TestCheckpoint:
    @pytest.fixture
    def file(self, model: Model, tmp_path: Path) -> Path:
        file = tmp_path / "model.safetensors"
        file.write_bytes(serialise(model))
        return file

    def test_it_is_stored_beside_the_model(self, file: Path, clips: Clips, model: Model) -> None:
        assert score_with_baseline(load_model(file, baseline=True), clips, HELD_OUT) == score_with_baseline(
            model, clips, HELD_OUT
        )

    def test_it_is_loaded_only_on_request(self, file: Path, model: Model) -> None:
        assert load_model(file).baseline is None
        assert model.baseline is not None
        sizes = [p.numel() for p in model.classifier.state_dict().values()]
        assert read_header(file).num_parameters == sum(sizes)

    def test_a_file_without_one_loads(self, file: Path, model: Model) -> None:
        file.write_bytes(serialise(replace(model, baseline=None)))
        assert load_model(file, baseline=True).baseline is None
