"""From features to a model: the clips that each part is trained on, and unreadable clips."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from tests.data.trees import dataset as make_dataset
from tests.engine.toys import QUICK, WIDTHS, extracted, features, model_config, shaped
from vidlstm.config import EncoderConfig, ModelConfig
from vidlstm.data.fingerprints import fingerprint, fingerprints
from vidlstm.data.samples import Dataset
from vidlstm.data.split_table import split_rows, write_split
from vidlstm.data.splits import Fold, Split, make_folds
from vidlstm.engine.distributed import World
from vidlstm.engine.evaluation.ablation import stream_subsets
from vidlstm.engine.evaluation.folds import crossvalidate
from vidlstm.engine.evaluation.subsets import choose_subset, learned_clips, with_classes_of
from vidlstm.engine.events import Diverged
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.scoring import score
from vidlstm.engine.training.facts import describe_training
from vidlstm.engine.training.loop.encoder_training import EncoderTraining, start_from
from vidlstm.engine.training.loop.fusion import score_floor
from vidlstm.engine.training.loop.members import held_out_again, member_parts
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.engine.training.run_folder import RunSettings
from vidlstm.errors import DataError, UsageError
from vidlstm.evaluations import Scored
from vidlstm.features.batches import ClipFeatures
from vidlstm.files import write_atomically
from vidlstm.metrics.classification import summarise
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import build_encoder


def toy(num_clips: int = 40, unreadable: tuple[int, ...] = (), num_groups: int = 10) -> Clips:
    clips, labels = shaped(num_clips)
    kept = [None if i in unreadable else clip for i, clip in enumerate(clips)]
    return extracted(kept, labels, [f"g{i // 2 % num_groups}" for i in range(num_clips)])


def groups_of(clips: Clips) -> set[str]:
    return {sample.group for sample in clips.dataset.samples}


INTERRUPTED = """
import os, signal, sys, threading
from dataclasses import replace
from tests.engine.test_learning import crossvalidate, make_folds, model_config, toy, QUICK
clips = toy()
press = lambda: os.killpg(0, signal.SIGINT)
try:
    signal.signal(signal.SIGINT, getattr(signal, sys.argv[2]))
    threading.Timer(float(sys.argv[1]), press).start()
    long = replace(QUICK, epochs=int(sys.argv[3]), patience=0)
    list(crossvalidate(model_config(), clips, make_folds(clips.dataset, 10, seed=0), long, processes=2))
except KeyboardInterrupt:
    sys.exit(130)
"""


class TestMemberParts:
    LABELS = tuple("ab"[i % 2] for i in range(40))
    GROUPS = tuple(f"g{i // 4}" for i in range(40))

    @pytest.mark.parametrize("members", [2, 3, 4, 5])
    def test_are_disjoint_and_cover_the_training_set_and_split_no_group(self, members: int) -> None:
        side = [i for i in range(40) if i // 4 != 7]
        parts = member_parts(side, self.LABELS, self.GROUPS, members, seed=0)
        assert len(parts) == members
        assert sorted(i for part in parts for i in part) == side
        groups = [{self.GROUPS[i] for i in part} for part in parts]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 9
        for part in parts:
            assert {self.LABELS[i] for i in part} == {"a", "b"}

    def test_one_member_leaves_out_about_a_fifth(self) -> None:
        (part,) = member_parts(range(40), self.LABELS, self.GROUPS, 1, seed=0)
        assert 4 <= len(part) <= 12
        assert not {self.GROUPS[i] for i in part} & {self.GROUPS[i] for i in range(40) if i not in part}

    def test_are_the_same_for_the_same_seed(self) -> None:
        parts = [member_parts(range(40), self.LABELS, self.GROUPS, 4, seed) for seed in (1, 1, 2)]
        assert parts[0] == parts[1] != parts[2]

    def test_split_a_group_only_if_a_class_could_not_be_trained_otherwise(self) -> None:
        groups = ["only a"] * 20 + [f"b{i}" for i in range(20)]
        labels = ["a"] * 20 + ["b"] * 20
        parts = member_parts(range(40), labels, groups, 4, seed=0)
        assert sorted(i for part in parts for i in part) == list(range(40))
        for part in parts:
            left = [i for i in range(40) if i not in part]
            assert {labels[i] for i in left} == {"a", "b"}

    @pytest.mark.parametrize("number", [1, 8])
    def test_a_class_with_one_group_is_always_trained_and_changes_nothing_else(self, number: int) -> None:
        labels = [*self.LABELS, *["rare"] * number]
        groups = [*self.GROUPS, *["only rare"] * number]
        parts = member_parts(range(40 + number), labels, groups, 4, seed=0)
        assert sorted(i for part in parts for i in part) == list(range(40))
        held_out = [{groups[i] for i in part} for part in parts]
        assert sum(map(len, held_out)) == len(set.union(*held_out)) == 10

    @pytest.mark.parametrize("number", [2, 3])
    def test_with_fewer_groups_than_members_some_hold_out_the_same(self, number: int) -> None:
        groups = [f"g{i % number}" for i in range(40)]
        labels = ["ab"[i // 20] for i in range(40)]
        parts = member_parts(range(40), labels, groups, 4, seed=0)
        assert all(len({groups[i] for i in part}) == 1 for part in parts)
        assert len({tuple(part) for part in parts}) == number

    def test_one_member_with_few_groups_leaves_out_one(self) -> None:
        groups = [f"g{i % 3}" for i in range(40)]
        labels = ["ab"[i // 20] for i in range(40)]
        (part,) = member_parts(range(40), labels, groups, 1, seed=0)
        assert len({groups[i] for i in part}) == 1

    def test_too_few_clips_hold_nothing_out(self) -> None:
        assert member_parts([0, 1], ("a", "b"), ("g", "h"), 4, seed=0) == [[], [], [], []]


def test_clips_that_two_members_hold_out_count_once_towards_the_highest_score() -> None:
    clips = toy()
    groups = tuple(replace(s, group=f"g{i // 2 % 2}") for i, s in enumerate(clips.dataset.samples))
    clips = replace(clips, dataset=replace(clips.dataset, samples=groups))
    config = model_config().changed(members=4)
    trainer = make_trainer(start_model(config, clips, None, 0), clips, range(30), QUICK)
    assert (len(trainer.held_out), trainer.num_held_out) == (60, 30)
    trainer.calibrate()
    floor = float(trainer.classifier.floor)
    assert floor == pytest.approx(score_floor(30, len(config.classes)))
    assert float(trainer.classifier.novelty.levels.max()) > 0


class TestTrainer:
    def test_trains_only_on_readable_clips_of_the_training_set(self) -> None:
        clips = toy(unreadable=(3, 8))
        trainer = make_trainer(start_model(model_config(), clips, None, 0), clips, range(30), QUICK)
        for part in trainer.parts:
            assert set(part.train) | set(part.val) == set(range(30)) - {3, 8}
            assert not set(part.train) & set(part.val)
        assert sorted(np.concatenate([p.val for p in trainer.parts])) == sorted(set(range(30)) - {3, 8})

    def test_a_class_without_a_readable_training_clip_is_named(self) -> None:
        clips = toy(unreadable=tuple(range(1, 30, 2)))
        with pytest.raises(DataError, match=r"/data: no training clip of class 'b' can be read"):
            make_trainer(start_model(model_config(), clips, None, 0), clips, range(30), QUICK)

    def test_the_seed_gives_the_same_weights_on_any_number_of_cores(self) -> None:
        wide = model_config().changed(head={"hidden": 128})  # wide enough for several threads per matrix
        before = torch.get_num_threads()
        try:
            states = []
            for number in (1, 2):
                torch.set_num_threads(number)
                states.append(start_model(wide, toy(), None, 0).classifier.state_dict())
                assert torch.get_num_threads() == number
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(states[0][name], value) for name, value in states[1].items())

    def test_the_seed_gives_the_weights(self) -> None:
        digests = []
        for seed in (0, 0, 1):
            torch.rand(3)
            model = start_model(model_config(), toy(), None, seed)
            digests.append(torch.cat([p.flatten() for p in model.classifier.parameters()]))
        assert torch.equal(digests[0], digests[1])
        assert not torch.equal(digests[0], digests[2])

    @pytest.mark.parametrize(("method", "mixes"), [("uniform", True), ("dense", False), ("fps", False)])
    def test_steps_are_mixed_from_views_only_for_uniform_sampling(self, method: str, mixes: bool) -> None:
        clips = toy()
        config = model_config().changed(sampling={"method": method})
        assert make_trainer(start_model(config, clips, None, 0), clips, range(30), QUICK).mix_views == mixes

    def test_more_moments_are_stored_than_the_head_reads_at_once(self) -> None:
        config = ModelConfig.default("video", ("a", "b"))
        assert ReadRequest.for_training(config.changed(views=1)).views > 1
        assert ReadRequest.for_training(config.changed(views=5)).views == 5


class TestScore:
    def test_clips_that_could_not_be_read_are_in_the_list(self) -> None:
        """Fault 8 of the peers: an unreadable validation clip is replaced by another clip."""
        clips = toy(unreadable=(31, 34))
        model = start_model(model_config(), clips, None, 0)
        model.modules().eval()
        scored = score(model, clips, range(30, 36))
        assert [s.path for s in scored] == [s.path for s in clips.dataset.samples[30:36]]
        assert [s.failed for s in scored] == [False, True, False, False, True, False]
        assert [s.problem.code.value for s in scored if s.problem] == ["not_a_video"] * 2
        assert summarise(("a", "b"), scored).num_clips == 6

    def test_works_if_no_clip_can_be_read(self) -> None:
        clips = toy(unreadable=(30, 31))
        model = start_model(model_config(), clips, None, 0)
        model.modules().eval()
        assert all(s.failed for s in score(model, clips, [30, 31]))


class TestDistributed:
    @pytest.mark.parametrize(("batch_size", "num_clips"), [(7, 30), (8, 4)])
    def test_every_process_must_have_clips_in_every_step(self, batch_size: int, num_clips: int) -> None:
        clips = toy()
        model = start_model(model_config(), clips, None, 0)
        config = replace(QUICK, batch_size=batch_size)
        with pytest.raises(UsageError, match=r"2 processes need steps of at least 8 clips \(`batch_size`\)"):
            make_trainer(model, clips, range(num_clips), config, world=World(0, 2))

    def test_an_encoder_with_trained_batch_norm_is_not_distributed(self) -> None:
        encoder = build_encoder(EncoderConfig("simple", size=8))
        learning = EncoderTraining(encoder)
        clips = toy()
        model = start_model(model_config(members=1), clips, None, 0)
        for world, config in ((World(0, 2), QUICK), (World(), replace(QUICK, accumulate=2))):
            with pytest.raises(UsageError, match="without pretrained weights cannot be trained with"):
                make_trainer(model, clips, range(30), config, encoder_training=learning, world=world)


class TestStartFrom:
    @staticmethod
    def earlier() -> Model:
        config = model_config().changed(
            streams=("rgb",), encoder={"name": "mobilenet_v3_small", "weights": "none"}
        )
        encoder = build_encoder(config.encoder)
        torch.manual_seed(1)
        return build_model(config, {"rgb": encoder.width}, encoder)

    def test_takes_the_encoder_and_the_first_member(self) -> None:
        earlier = self.earlier()
        config = earlier.config.changed(members=1, encoder={"unfrozen": None})
        model = start_from(earlier, config)
        assert model.encoder is earlier.encoder
        assert model.classifier.members == 1
        clips = torch.randn(1, 3, 4, model.widths["rgb"], generator=torch.Generator().manual_seed(2))
        mask = torch.ones(1, 3, 4, dtype=torch.bool)
        both, first = (
            m.classifier.eval().logits({"rgb": clips}, {"rgb": mask}, {}) for m in (earlier, model)
        )
        torch.testing.assert_close(first, both[:, :1])
        assert (both[:, 0] - both[:, 1]).abs().max() > 1e-3

    @pytest.mark.parametrize(
        "changes",
        [{"classes": ("x", "y")}, {"head": {"hidden": 9}}, {"encoder": {"size": 64, "unfrozen": None}}],
    )
    def test_refuses_another_network(self, changes: dict[str, Any]) -> None:
        earlier = self.earlier()
        config = earlier.config.changed(members=1, encoder={"unfrozen": None}).changed(**changes)
        with pytest.raises(UsageError, match=rf"`start`: the {next(iter(changes))} of that run is different"):
            start_from(earlier, config)

    def test_the_network_holds_out_the_same_clips_as_in_the_ensemble(self) -> None:
        clips = toy()
        four = make_trainer(start_model(model_config(members=4), clips, None, 0), clips, range(30), QUICK)
        one = make_trainer(
            start_model(model_config(members=1), clips, None, 0), clips, range(30), QUICK, divided_by=4
        )
        assert one.parts[0].val.tolist() == four.parts[0].val.tolist()
        assert len(one.parts) == 1

    def test_in_fine_tuning_it_leaves_out_the_same_clips_though_others_were_added(self) -> None:
        clips = toy(40)
        names = [sample.name(clips.dataset.root) for sample in clips.dataset.samples]
        model = start_model(model_config(members=1), clips, None, 0)
        for left_out in ([1, 2, 5, 30], [7]):
            before = [{names[i] for i in left_out}]
            trainer = make_trainer(
                model, clips, range(30), QUICK, divided_by=4, left_out=before, learned=names
            )
            (part,) = trainer.parts
            assert part.val.tolist() == [i for i in left_out if i < 30]
            assert part.train.tolist() == [i for i in range(30) if i not in left_out]

    def test_if_all_that_it_left_out_is_gone_it_holds_out_nothing_that_it_was_trained_on(self) -> None:
        clips = toy(40)
        names = [sample.name(clips.dataset.root) for sample in clips.dataset.samples]
        model = start_model(model_config(members=1), clips, None, 0)
        for left_out in ([], [35], list(range(30))):  # none of them is a training clip now, or all are
            trainer = make_trainer(
                model, clips, range(30), QUICK, divided_by=4, left_out=[{names[i] for i in left_out}]
            )
            assert trainer.parts[0].val.tolist() == []
            assert trainer.parts[0].train.tolist() == list(range(30))

    @pytest.mark.parametrize("members", [1, 4])
    def test_clips_of_new_groups_only_are_divided_as_in_a_new_training(self, members: int) -> None:
        clips = toy(40)
        config = model_config(members=members)
        fresh: dict[str, Any] = {}
        going_on = {
            "left_out": [{"gone.mp4"}] * members,
            "learned": {"gone.mp4"},
            "new_groups": groups_of(clips),
        }
        first, again = (
            make_trainer(start_model(config, clips, None, 0), clips, range(30), QUICK, **options)
            for options in (fresh, going_on)
        )
        assert all(len(part.val) for part in first.parts)
        assert [part.val.tolist() for part in again.parts] == [part.val.tolist() for part in first.parts]

    @pytest.mark.parametrize(("members", "share"), [(1, 0.1), (4, 0.25)])
    def test_each_member_holds_out_its_part_of_the_new_groups_besides(
        self, members: int, share: float
    ) -> None:
        clips = toy(120, num_groups=30)
        names = [sample.name(clips.dataset.root) for sample in clips.dataset.samples]
        groups = [sample.group for sample in clips.dataset.samples]
        known = [i for i, group in enumerate(groups) if group in {"g0", "g1", "g2", "g3", "g4"}]
        left_out = [{names[i] for i in known if groups[i] == f"g{k}"} for k in range(members)]
        model = start_model(model_config(members=members), clips, None, 0)
        trainer = make_trainer(
            model, clips, range(120), QUICK,
            left_out=left_out, learned={names[i] for i in known},
            new_groups=set(groups) - {groups[i] for i in known},
        )  # fmt: skip
        for part, before in zip(trainer.parts, left_out, strict=True):
            held_out = {names[i] for i in part.val}
            assert before < held_out
            assert not (held_out - before) & {names[i] for i in known}
            assert len(held_out - before) == pytest.approx(share * 100, abs=4)
            assert not {groups[i] for i in part.val} & {groups[i] for i in part.train}

    def test_one_new_group_is_not_split_if_clips_are_held_out_already(self) -> None:
        clips = toy(40)
        names = [sample.name(clips.dataset.root) for sample in clips.dataset.samples]
        model = start_model(model_config(members=1), clips, None, 0)
        known = {names[i] for i, sample in enumerate(clips.dataset.samples) if sample.group != "g9"}
        trainer = make_trainer(
            model, clips, range(40), QUICK, left_out=[{names[0], names[1]}], learned=known, new_groups={"g9"}
        )
        assert trainer.parts[0].val.tolist() == [0, 1]

    def test_an_ensemble_trains_on_though_one_member_holds_out_nothing(self) -> None:
        clips = toy(40)
        names = [sample.name(clips.dataset.root) for sample in clips.dataset.samples]
        model = start_model(model_config(members=2), clips, None, 0)
        left_out = [{names[i] for i in (0, 1, 20, 21)}, {"gone.mp4"}]
        trainer = make_trainer(model, clips, range(30), QUICK, left_out=left_out, learned=names)
        assert [part.val.tolist() for part in trainer.parts] == [[0, 1, 20, 21], []]
        reports = list(trainer.run())
        trainer.finish()
        assert all(math.isfinite(report.val_loss or math.nan) for report in reports)
        assert trainer.held_out_scores(trainer.views).shape == (1, 4, 2)
        assert float(model.classifier.floor) == pytest.approx(score_floor(4, 2))
        assert len(score(model, clips, range(30, 40))) == 10
        assert not model.classifier.novelty.is_fitted


class TestHeldOutAgain:
    """What a member holds out when its training goes on with other clips."""

    @staticmethod
    def again(rows: dict[str, str], left_out: set[str], learned: set[str]) -> set[str]:
        """Return the names that are held out; `rows` gives each name's label and group, as `a g1`."""
        names, cells = list(rows), [row.split() for row in rows.values()]
        labels, groups = [label for label, _ in cells], [group for _, group in cells]
        return {names[i] for i in held_out_again(range(len(rows)), labels, groups, names, left_out, learned)}

    ROWS: ClassVar = {"1": "a g1", "2": "b g1", "3": "a g2", "4": "b g2", "5": "a g3", "6": "b g3"}

    def test_new_clips_of_its_groups_are_held_out_and_others_trained_on(self) -> None:
        grown = {**self.ROWS, "7": "a g1", "8": "b g2", "9": "b g4"}
        assert self.again(grown, {"1", "2"}, set(self.ROWS)) == {"1", "2", "7"}
        del grown["1"]
        assert self.again(grown, {"1", "2"}, set(self.ROWS)) == {"2", "7"}

    def test_of_a_group_that_it_was_trained_on_only_the_same_clips_are_held_out(self) -> None:
        assert self.again({**self.ROWS, "7": "a g1"}, {"1"}, set(self.ROWS)) == {"1"}

    def test_groups_stay_in_training_if_a_class_would_be_missing(self) -> None:
        fewer = {"1": "a g1", "2": "b g1", "3": "a g2", "7": "a g4"}
        assert self.again(fewer, {"1", "2", "7"}, set(self.ROWS) | {"7"}) == {"7"}

    def test_films_are_recognised_though_the_times_of_a_span_were_corrected(self) -> None:
        before = {"x.mp4#t=0.00,2.00", "x.mp4#t=2.00,4.00"}
        learned = before | {"y.mp4#t=0.00,2.00", "y.mp4#t=2.00,4.00"}
        now = {"x.mp4#t=0.00,2.10": "a x", "x.mp4#t=2.10,4.00": "b x"}
        others = {"y.mp4#t=0.00,2.10": "a y", "y.mp4#t=2.10,4.00": "b y"}
        assert self.again({**now, **others}, before, learned) == set(now)


class TestDescription:
    def test_contains_plain_json_and_the_training_clips(self, tmp_path: Path) -> None:
        clips = toy(12)
        samples = []
        for number, sample in enumerate(clips.dataset.samples):
            write_atomically(tmp_path / sample.path.name, b"clip %d" % number)
            samples.append(replace(sample, path=tmp_path / sample.path.name))
        clips = replace(clips, dataset=replace(clips.dataset, samples=tuple(samples)))
        model = start_model(model_config(), clips, None, 0)
        trainer = make_trainer(model, clips, range(8), QUICK)
        for _ in trainer.run():
            pass
        trainer.finish()
        split = Split(tuple(range(8)), tuple(range(8, 12)))
        report = summarise(("a", "b"), score(model, clips, split.val))
        settings = RunSettings("clips", {}, model.config, QUICK)
        prints = fingerprints(s.path for s in samples)
        facts = describe_training(
            model, settings, clips, split, prints, trainer, report, ["earlier", prints[0]]
        )
        assert json.loads(json.dumps(facts)) == facts
        assert facts["num_clips"] == {"train": 8, "val": 4, "test": 0}
        assert facts["learned_from"] == sorted([*prints[:8], "earlier"])
        assert facts["left_out"] == sorted(prints[i] for i in trainer.parts[0].val)
        assert sum(facts["fusion"].values()) == pytest.approx(1, abs=1e-3)
        assert facts["top1"] == report.top1
        assert facts["reports_unknown"]


class TestCrossvalidation:
    @staticmethod
    def run(clips: Clips, folds: tuple[Fold, ...], processes: int = 1) -> list[Scored]:
        results = crossvalidate(model_config(), clips, folds, QUICK, processes=processes)
        return [s for result in results for s in result.scored[("motion",)]]

    def test_scores_every_clip_once_by_a_model_that_has_not_seen_its_group(self) -> None:
        clips = toy()
        folds = make_folds(clips.dataset, 3, seed=0)
        for fold in folds:
            subsets = [
                {clips.dataset.samples[i].group for i in f} for f in (fold.train_indices, fold.test_indices)
            ]
            assert not subsets[0] & subsets[1]
        scored = self.run(clips, folds)
        assert sorted(s.path for s in scored) == [s.path for s in clips.dataset.samples]
        assert summarise(("a", "b"), scored).top1 > 0.7

    def test_a_held_out_clip_changes_nothing_but_its_own_score(self) -> None:
        """Fault 9 of the peers, in a fold: corrupting a held-out clip changes no other score."""
        clips = toy()
        folds = make_folds(clips.dataset, 3, seed=0)[:1]
        held_out = set(folds[0].test_indices)
        spoilt = min(held_out)
        noise = features(np.full((4, 6), 9, np.float32))
        changed = list(clips.extracted)
        changed[spoilt] = replace(changed[spoilt], features=noise)
        before, after = self.run(clips, folds), self.run(replace(clips, extracted=tuple(changed)), folds)
        name = clips.dataset.samples[spoilt].path
        for one, other in zip(before, after, strict=True):
            if one.path != name:
                np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)

    def test_a_training_that_diverges_is_scored_at_its_best_epoch(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = iter([1.0, math.nan])
        monkeypatch.setattr(Trainer, "_validate", lambda _: (next(script), 0.5))
        clips = toy()
        folds = make_folds(clips.dataset, 3, seed=0)[:1]
        (result,) = crossvalidate(model_config(), clips, folds, QUICK, processes=1)
        assert result.diverged == Diverged(2, 1, QUICK.learning_rate)
        assert all(np.isfinite(s.scores).all() for s in result.scored[("motion",)])

    def test_unreadable_clips_count_in_their_held_out_fold(self) -> None:
        clips = toy(unreadable=(5, 6))
        report = summarise(("a", "b"), self.run(clips, make_folds(clips.dataset, 2, seed=0)))
        assert (report.num_clips, len(report.failed)) == (40, 2)

    def test_an_unreadable_fold_counts_as_mistakes_only(self) -> None:
        clips = toy(unreadable=(0, 1, 20, 21))
        folds = tuple(f for f in make_folds(clips.dataset, "group", seed=0) if f.held_out_name == "g0")
        assert [s.failed for s in self.run(clips, folds)] == [True] * 4

    @pytest.mark.slow
    @pytest.mark.skipif(os.name == "nt", reason="has no process groups")
    @pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
    def test_ctrl_c_ends_the_processes_silently_whatever_they_are_doing(self, seconds: float) -> None:
        """Each process used to print a traceback if the signal came while it imported its modules."""
        ended = self.interrupted(seconds, "default_int_handler", epochs=10**6)
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")

    @pytest.mark.slow
    @pytest.mark.skipif(os.name == "nt", reason="has no process groups")
    def test_ctrl_c_that_the_command_ignores_does_not_end_its_processes(self) -> None:
        """A command in the background of a script ignores Ctrl-C, and its processes must do so, too."""
        ended = self.interrupted(3.0, "SIG_IGN", epochs=60)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

    @staticmethod
    def interrupted(seconds: float, handler: str, epochs: int) -> subprocess.CompletedProcess[str]:
        """Run a cross-validation that gets Ctrl-C after some seconds."""
        return subprocess.run(
            [sys.executable, "-c", INTERRUPTED, str(seconds), handler, str(epochs)],
            capture_output=True, text=True, timeout=300, start_new_session=True, check=False,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def test_works_with_two_clips_per_class(self) -> None:
        clips = toy(4, num_groups=2)
        assert len(self.run(clips, make_folds(clips.dataset, 2, seed=0))) == 4

    def test_the_same_seed_gives_the_same_scores(self) -> None:
        clips = toy()
        folds = make_folds(clips.dataset, 2, seed=0)
        assert self.run(clips, folds) == self.run(clips, folds)

    def test_subsets_are_each_sequence_stream_and_all_together(self) -> None:
        assert stream_subsets(("rgb", "motion")) == [("rgb",), ("motion",), ("rgb", "motion")]
        assert stream_subsets(("rgb", "motion", "colour"))[:2] == [("rgb", "colour"), ("motion", "colour")]
        assert stream_subsets(("rgb", "texture")) == [("rgb", "texture")]


class TestScoredSubset:
    DATA = make_dataset([("a", f"g{i}", None) if i % 2 else ("b", f"g{i}", None) for i in range(8)])

    @staticmethod
    def names(data: Dataset) -> list[str]:
        return [s.path.stem for s in data.samples]

    def test_the_test_set_of_the_data_comes_first(self, tmp_path: Path) -> None:
        given = make_dataset(
            [("a", "1", "train"), ("b", "2", "val"), ("a", "3", "test"), ("b", "4", "train")]
        )
        assert self.names(choose_subset(given, tmp_path, None).dataset) == ["00002"]
        assert self.names(choose_subset(given, tmp_path, "val").dataset) == ["00001"]
        assert self.names(choose_subset(given, tmp_path, "train").dataset) == ["00000", "00003"]
        assert len(choose_subset(given, tmp_path, "all").dataset.samples) == 4

    def test_otherwise_the_clips_that_the_run_held_out(self, tmp_path: Path) -> None:
        split = Split((0, 1, 2, 3, 4), (5, 6, 7))
        write_split(tmp_path / "split.csv", split_rows(self.DATA, split, [""] * 8))
        side = choose_subset(self.DATA, tmp_path, None)
        assert self.names(side.dataset) == ["00005", "00006", "00007"]
        assert "val subset" in side.description
        assert "split.csv, 3 clips" in side.description
        assert len(choose_subset(self.DATA, tmp_path, "train").dataset.samples) == 5

    def test_otherwise_all_clips(self, tmp_path: Path) -> None:
        assert choose_subset(self.DATA, tmp_path, None).description == "all 8 clips"
        (tmp_path / "split.csv").write_text("path,label,group,split\nother.mp4,a,g,val\n")
        assert choose_subset(self.DATA, tmp_path, None).description == "all 8 clips"

    def test_a_missing_subset_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"`subset=test`: neither .* try `subset=all`"):
            choose_subset(self.DATA, tmp_path, "test")

    def test_classes_have_the_order_of_the_model(self) -> None:
        model = build_model(model_config(num_classes=3), WIDTHS, None)
        assert with_classes_of(self.DATA, model).classes == ("a", "b", "c")

    def test_a_class_unknown_to_the_model_is_named(self) -> None:
        model = build_model(ModelConfig("video", ("a", "z"), ("motion",)), WIDTHS, None)
        with pytest.raises(DataError, match=r"does not know class 'b' \(1 unknown in all\); it knows a, z"):
            with_classes_of(self.DATA, model)

    def test_copied_training_clips_are_recognised_and_missing_ones_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "copy.mp4").write_bytes(b"seen")
        (tmp_path / "new.mp4").write_bytes(b"never seen")
        (tmp_path / "original.mp4").write_bytes(b"seen")
        model = build_model(model_config(), WIDTHS, None)
        model.training = {"learned_from": [fingerprint(tmp_path / "original.mp4")]}
        samples = tuple(
            replace(sample, path=tmp_path / name)
            for sample, name in zip(self.DATA.samples, ("copy.mp4", "new.mp4", "gone.mp4"), strict=False)
        )
        assert learned_clips(replace(self.DATA, samples=samples), model) == [tmp_path / "copy.mp4"]


def test_widths_are_those_of_the_first_clip_that_could_be_read() -> None:
    clips, labels = shaped(3)
    joined = ClipFeatures(clips[1].sequences, {"colour": np.zeros((1, 9), np.float16)})
    assert extracted([None, joined, joined], labels, ["x"] * 3).widths() == {"motion": 6, "colour": 9}
