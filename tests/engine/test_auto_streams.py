"""`streams=auto`: pose is kept if it helps on held-out clips, and removed without a trace otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.engine.toys import QUICK, extracted
from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.data.splits import make_folds
from vidlstm.engine.evaluation.crossval import CrossvalRequest, crossval
from vidlstm.engine.evaluation.folds import crossvalidate
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.scoring import score_clips
from vidlstm.engine.training import auto_streams
from vidlstm.engine.training.auto_streams import choose_streams, compare, configure, with_choice
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.errors import UsageError, WeightsError
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.checkpoint import Model, load_model, serialise
from vidlstm.models.pose_weights import PoseWeights
from vidlstm.settings import DataSettings, ModelSettings

CONFIG = ModelConfig("video", ("a", "b"), ("motion", "pose"), views=1, mirror=False, members=4).changed(
    head={"hidden": 8, "projection": 0, "dropout": 0.2}
)
POSE = np.array([False, True])


def branches(seed: int, *strengths: float, num_clips: int = 48) -> tuple[Tensor, Tensor]:
    """Return branches' log-probabilities of two classes, and the labels; a strength of 0 is noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_clips) % 2
    towards = np.stack([s * (2 * labels - 1) + rng.normal(size=num_clips) for s in strengths])
    logits = np.stack([-towards, towards], axis=-1)
    return torch.from_numpy(logits).log_softmax(-1), torch.from_numpy(labels)


def groups(number: int, num_clips: int = 48) -> list[str]:
    return [f"group{i * number // num_clips}" for i in range(num_clips)]


class TestComparison:
    def test_a_stream_that_helps_is_kept(self) -> None:
        choice = compare(*branches(0, 0.5, 2.0), groups(12), POSE)
        assert choice.kept
        assert choice.p < 0.01
        assert choice.right > choice.right_without
        assert choice.loss < choice.loss_without
        assert choice.clips == 48

    def test_noise_is_rarely_kept(self) -> None:
        kept = [compare(*branches(seed, 0.8, 0.0), groups(12), POSE).kept for seed in range(6)]
        assert sum(kept) <= 1

    def test_a_gain_in_one_recording_is_chance(self) -> None:
        scores, labels = branches(0, 0.5, 0.0)
        good, _ = branches(0, 0.5, 4.0)
        scores[1, :6] = good[1, :6]
        assert not compare(scores, labels, groups(8), POSE).kept

    def test_with_few_groups_clips_are_compared(self) -> None:
        assert compare(*branches(0, 0.5, 2.0), groups(1), POSE).kept

    @pytest.mark.parametrize("number", [1, 12])
    def test_a_clip_that_two_members_hold_out_counts_once(self, number: int) -> None:
        scores, labels = branches(0, 0.5, 0.9)
        once = compare(scores, labels, groups(number), POSE, np.arange(48)[::-1])
        assert once == compare(scores, labels, groups(number), POSE)
        twice = compare(
            torch.cat([scores, scores], 1),
            torch.cat([labels, labels]),
            groups(number) * 2,
            POSE,
            np.tile(np.arange(48), 2),
        )
        assert (twice.clips, twice.right, twice.right_without, twice.kept) == (
            once.clips,
            once.right,
            once.right_without,
            once.kept,
        )
        assert (twice.p, twice.loss) == pytest.approx((once.p, once.loss), rel=1e-4)

    def test_one_clip_is_no_evidence(self) -> None:
        scores, labels = branches(0, 0.0, 4.0, num_clips=1)
        choice = compare(scores, labels, ["x"], POSE)
        assert (choice.kept, choice.clips) == (False, 1)
        assert choice.p >= 0.5

    def test_the_result_is_the_same_each_time(self) -> None:
        given = (*branches(3, 0.7, 0.7), groups(24), POSE)
        assert compare(*given) == compare(*given)


def clips_of(motion: float, pose: float, num_clips: int = 48) -> Clips:
    """Return clips of two classes, in 12 groups, that each stream distinguishes with the given strength."""
    rng = np.random.default_rng(5)
    labels: NDArray[np.int64] = np.arange(num_clips) % 2

    def stream(strength: float, label: int) -> NDArray[np.float16]:
        steps = rng.normal(size=(6, 4)) + strength * (2 * label - 1)
        steps[:, -1] = 1  # confidence of the key points
        return steps[None, None].astype(np.float16)

    given = [ClipFeatures({"motion": stream(motion, c), "pose": stream(pose, c)}, {}) for c in labels]
    return extracted(given, labels, [f"g{i // 4:02}" for i in range(num_clips)])


def trained(clips: Clips) -> tuple[Model, Trainer]:
    model = start_model(CONFIG, clips, None, seed=0)
    model.pose = PoseWeights(b"TFL3 a", b"TFL3 b")
    trainer = make_trainer(model, clips, range(len(clips.extracted)), QUICK)
    for _ in trainer.run():
        pass
    trainer.finish()
    return model, trainer


class TestChoice:
    def test_a_useful_stream_stays_and_nothing_changes(self) -> None:
        clips = clips_of(motion=0.1, pose=0.8)
        model, trainer = trained(clips)
        before = serialise(model)
        assert choose_streams(model, trainer, clips.dataset).kept
        assert serialise(model) == before

    def test_a_useless_stream_leaves_no_trace(self, tmp_path: Path) -> None:
        clips = clips_of(motion=0.4, pose=0.0)
        model, trainer = trained(clips)
        branch = {k: v.clone() for k, v in model.classifier.branches[0].state_dict().items()}
        choice = choose_streams(model, trainer, clips.dataset)
        assert not choice.kept
        assert model.config.streams == ("motion",)
        assert (model.pose, list(model.widths)) == (None, ["motion"])
        assert all(torch.equal(v, branch[k]) for k, v in model.classifier.branches[0].state_dict().items())
        assert model.classifier.fusion.tolist() == [1.0]
        assert float(model.classifier.novelty.levels[-1]) > 0
        file = tmp_path / "model.safetensors"
        file.write_bytes(serialise(model))
        loaded = load_model(file)
        some = [clips.features(i) for i in range(8)]
        alone = [ClipFeatures({"motion": clip.sequences["motion"]}, {}) for clip in some]
        np.testing.assert_array_equal(score_clips(loaded, alone), score_clips(model, some))

    def test_without_held_out_clips_there_is_no_evidence(self) -> None:
        clips = clips_of(motion=0.1, pose=0.8, num_clips=48)
        model = start_model(CONFIG, clips, None, seed=0)
        trainer = make_trainer(model, clips, [0, 1], QUICK)  # too few to hold any out
        for _ in trainer.run():
            pass
        trainer.finish()
        choice = choose_streams(model, trainer, clips.dataset)
        assert (choice.clips, choice.kept, model.config.streams) == (0, False, ("motion",))

    @pytest.mark.parametrize(("motion", "pose", "kept"), [(0.0, 1.5, True), (0.4, 0.0, False)])
    def test_every_fold_chooses_on_its_own_training_clips(
        self, motion: float, pose: float, kept: bool
    ) -> None:
        clips = clips_of(motion, pose)
        folds = make_folds(clips.dataset, 2, 0)
        training = replace(QUICK, auto_streams=True)
        results = list(crossvalidate(CONFIG, clips, folds, training, processes=1, baseline=True))
        assert [result.pose is not None and result.pose.kept for result in results] == [kept, kept]
        assert [result.pose.clips for result in results if result.pose] == [24, 24]
        assert all(len(scored.scores) == 2 for r in results for scored in r.scored[CONFIG.streams])


class TestSettings:
    def test_adds_pose_to_the_default_streams(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(auto_streams, "require_networks", lambda *_: Path("networks"))
        config, missing = configure(ModelSettings(streams="auto"), "video", ("a", "b"))
        assert (config.streams, missing) == (("rgb", "motion", "pose"), "")
        training = with_choice(TrainConfig(), ModelSettings(streams="auto"), config)
        assert training.auto_streams
        assert not with_choice(training, ModelSettings(streams="rgb+pose"), config).auto_streams
        assert with_choice(training, ModelSettings(), config).auto_streams  # resumed

    def test_pictures_have_no_pose(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(auto_streams, "require_networks", lambda *_: Path("networks"))
        config, missing = configure(ModelSettings(streams="auto"), "picture", ("a", "b"))
        assert (config.streams, missing) == (("rgb", "colour", "texture"), "")

    def test_says_why_pose_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def absent(*_: object) -> None:
            raise WeightsError("not installed")

        monkeypatch.setattr(auto_streams, "require_networks", absent)
        settings = ModelSettings(streams="auto")
        config, missing = configure(settings, "video", ("a", "b"))
        assert (config.streams, missing) == (("rgb", "motion"), "not installed")
        assert not with_choice(TrainConfig(), settings, config).auto_streams
        with pytest.raises(WeightsError, match="not installed"):
            configure(replace(settings, pose_weights=Path("given")), "video", ("a", "b"))

    def test_an_ablation_uses_named_streams(self) -> None:
        request = CrossvalRequest(DataSettings(Path("x")), ModelSettings(streams="auto"), ablation=True)
        with pytest.raises(UsageError, match="name them in `streams`, not auto"):
            next(crossval(request))
