"""The training loop: the same seed gives the same weights, and held-out clips are never trained on."""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.engine.toys import QUICK, make_trainer, ordered, shaped
from vidlstm.config import BatchBalance, HeadKind, TrainConfig
from vidlstm.engine.scoring import log_probabilities
from vidlstm.engine.training.loop import networks
from vidlstm.engine.training.loop import trainer as training
from vidlstm.engine.training.loop.members import Part
from vidlstm.engine.training.loop.networks import Networks
from vidlstm.engine.training.loop.optimiser import AdamW
from vidlstm.engine.training.loop.statistics import rarity, standardise
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import View
from vidlstm.errors import UsageError
from vidlstm.features.batches import Batch, ClipFeatures, view_batch
from vidlstm.records import EpochReport

CPU = torch.device("cpu")
Metrics = list[dict[str, Any]]


def run(trainer: Trainer) -> Metrics:
    """Train to the end; return the records of the epochs, without their duration."""
    metrics = [{**report.to_json(), "seconds": 0} for report in trainer.run()]
    trainer.finish()
    return metrics


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.classifier.state_dict().items()}


def member(state: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return the weights of one of two members."""
    return {
        name: value if ".rnns." in name else value.view(2, -1)[number]
        for name, value in state.items()
        if name.startswith("branch.") and f".rnns.{1 - number}." not in name
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def accuracy(trainer: Trainer, clips: list[ClipFeatures], labels: NDArray[np.int64]) -> float:
    scores = trainer.classifier.fuse(log_probabilities(trainer.classifier, clips, [View()], CPU))
    return float((scores.argmax(1).numpy() == labels).mean())


class TestSeed:
    def test_the_same_seed_gives_the_same_weights_and_metrics_bit_for_bit(self) -> None:
        clips, labels = shaped(24)
        first, second = make_trainer(clips, labels), make_trainer(clips, labels)
        assert run(first) == run(second)
        assert same(weights(first), weights(second))

    def test_earlier_random_draws_do_not_matter(self) -> None:
        clips, labels = shaped(24)
        first, second = make_trainer(clips, labels), make_trainer(clips, labels)
        metrics = run(first)
        torch.rand(1000)
        assert run(second) == metrics
        assert same(weights(first), weights(second))

    def test_another_seed_gives_other_weights(self) -> None:
        clips, labels = shaped(24)
        first = make_trainer(clips, labels)
        second = make_trainer(clips, labels, config=replace(QUICK, seed=1))
        assert run(first) != run(second)
        assert not same(weights(first), weights(second))

    def test_the_order_of_epochs_differs_from_epoch_to_epoch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clips, labels = shaped(24)
        trainer = make_trainer(clips, labels, [Part(np.arange(24), np.zeros(0, np.int64))])
        orders: list[list[int]] = []
        original = Networks.features

        def spy(self: Networks, indices: NDArray[np.int64]) -> list[ClipFeatures]:
            orders.append(indices.tolist())
            return original(self, indices)

        monkeypatch.setattr(Networks, "features", spy)
        run(trainer)
        epochs = [[*itertools.chain(*orders[n : n + 3])] for n in range(0, 12, 3)]
        assert all(sorted(epoch) == list(range(24)) for epoch in epochs)  # every clip once per epoch
        assert len({tuple(epoch) for epoch in epochs}) == 4


class TestResume:
    @pytest.mark.parametrize("after", [1, 3, 5])
    def test_a_resumed_run_is_bit_identical(self, after: int) -> None:
        clips, labels = shaped(24)
        config = replace(QUICK, epochs=6)
        unbroken = make_trainer(clips, labels, config=config)
        metrics = run(unbroken)

        broken = make_trainer(clips, labels, config=config)
        reports = broken.run()
        before: Metrics = [{**next(reports).to_json(), "seconds": 0} for _ in range(after)]
        file = io.BytesIO()
        torch.save(broken.state(), file)
        file.seek(0)

        resumed = make_trainer(clips, labels, config=config)
        resumed.restore(torch.load(file, weights_only=True))
        assert before + run(resumed) == metrics
        assert same(weights(resumed), weights(unbroken))
        assert resumed.best_epoch == unbroken.best_epoch

    def test_patience_is_remembered(self) -> None:
        clips, labels = shaped(24)
        config = replace(QUICK, patience=2, epochs=30, learning_rate=0.5, warmup_epochs=0)
        trainer = make_trainer(clips, labels, config=config)
        run(trainer)
        again = make_trainer(clips, labels, config=config)
        again.restore(trainer.state())
        assert list(again.run()) == []


class TestStoppingEarly:
    CONFIG = replace(QUICK, epochs=40, patience=3)

    def scripted(
        self, monkeypatch: pytest.MonkeyPatch, losses: list[float], patience: int = 3
    ) -> tuple[Trainer, list[EpochReport], list[dict[str, Tensor]]]:
        """Train with given validation losses; also return the weights after each epoch."""
        script = iter(losses)
        monkeypatch.setattr(Trainer, "_validate", lambda self: (next(script), 0.5))
        clips, labels = shaped(12)
        config = replace(self.CONFIG, patience=patience, epochs=len(losses))
        trainer = make_trainer(clips, labels, config=config)
        reports, after = [], []
        for report in trainer.run():
            reports.append(report)
            after.append(weights(trainer))
        return trainer, reports, after

    def test_ends_after_patience_epochs_without_improvement(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trainer, reports, _ = self.scripted(monkeypatch, [3, 2, 1, 5, 5, 5, 0, 0])
        assert [r.epoch for r in reports] == [1, 2, 3, 4, 5, 6]
        assert [r.is_best for r in reports] == [True, True, True, False, False, False]
        assert trainer.best_epoch == 3

    def test_the_weights_of_the_best_epoch_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trainer, _, after = self.scripted(monkeypatch, [3, 1, 2, 2.5])
        trainer.finish()
        taken = {
            k: v for k, v in weights(trainer).items() if k in dict(trainer.classifier.named_parameters())
        }
        assert all(torch.equal(value, after[1][name]) for name, value in taken.items())
        assert not trainer.classifier.training

    def test_a_validation_loss_that_is_not_a_number_ends_training(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer, reports, after = self.scripted(monkeypatch, [2, 1, math.nan, 0])
        assert (len(reports), trainer.diverged, trainer.best_epoch) == (3, True, 2)
        trainer.load_best()
        assert same(weights(trainer), after[1])

    def test_without_an_epoch_before_it_there_is_nothing_to_calibrate(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer, _, _ = self.scripted(monkeypatch, [math.nan])
        with pytest.raises(UsageError, match="diverged: the loss is not a number in epoch 1; try a"):
            trainer.finish()

    def test_without_validation_weights_that_are_not_finite_are_not_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train = Trainer._train_epoch

        def spoilt(self: Trainer) -> float:
            loss = train(self)
            if self.epoch == 2:  # in the last step, after the loss was computed
                next(self.classifier.parameters()).data.fill_(math.inf)
            return loss

        monkeypatch.setattr(Trainer, "_train_epoch", spoilt)
        clips, labels = shaped(12)
        trainer = make_trainer(clips, labels, [Part(np.arange(12), np.zeros(0, np.int64))])
        reports = list(trainer.run())
        assert (len(reports), trainer.diverged, trainer.best_epoch) == (2, True, 1)
        assert all(math.isfinite(r.train_loss) for r in reports)

    def test_patience_0_never_stops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, reports, _ = self.scripted(monkeypatch, [1.0] * 9, patience=0)
        assert len(reports) == 9

    def test_an_equal_loss_is_not_better(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trainer, _, _ = self.scripted(monkeypatch, [2, 1, 1, 1])
        assert trainer.best_epoch == 2

    def test_a_nan_loss_is_never_the_best(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trainer, _, _ = self.scripted(monkeypatch, [2, math.nan, 3])
        assert trainer.best_epoch == 1

    def test_validation_reads_only_held_out_clips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A common fault: early stopping, or the best epoch, chosen on the test set."""
        clips, labels = shaped(24)
        parts = [Part(np.arange(0, 10), np.arange(10, 14)), Part(np.arange(4, 14), np.arange(0, 4))]
        trainer = make_trainer(clips, labels, parts)
        scored: list[list[int]] = []

        def spy(some: list[ClipFeatures], index: int | None, *, mirrored: bool) -> Batch:
            scored.append([next(i for i, clip in enumerate(clips) if clip is one) for one in some])
            return view_batch(some, index, mirrored=mirrored)

        monkeypatch.setattr(networks, "view_batch", spy)
        run(trainer)
        at_the_end = [[*range(10), *range(4, 14)]]  # the training clips, for the novelty
        assert scored == [[*range(10, 14), *range(4)]] * (QUICK.epochs + 1) + at_the_end

    def test_without_held_out_clips_the_last_epoch_is_kept(self) -> None:
        clips, labels = shaped(12)
        trainer = make_trainer(clips, labels, [Part(np.arange(12), np.zeros(0, np.int64))])
        metrics = run(trainer)
        assert [(m["val_loss"], m["val_top1"]) for m in metrics] == [(None, None)] * QUICK.epochs
        assert trainer.best_epoch == QUICK.epochs
        assert trainer.classifier.temperature == 1

    def test_validation_figures_are_those_of_the_held_out_clips(self) -> None:
        clips, labels = shaped(24)
        part = Part(np.arange(18), np.arange(18, 24))
        trainer = make_trainer(clips, labels, [part])
        last = run(trainer)[trainer.best_epoch - 1]
        scores = log_probabilities(trainer.classifier, clips[18:], [View()], CPU).mean(0)
        target = torch.from_numpy(labels[18:])
        loss = min(  # at the best temperature, which is fitted at the end
            float(torch.nn.functional.cross_entropy(scores / t, target)) for t in training._TEMPERATURES
        )
        assert last["val_loss"] == pytest.approx(loss, abs=1e-5)
        assert last["val_top1"] == pytest.approx(float((scores.argmax(1) == target).double().mean()))


class TestTestSet:
    def test_is_never_used_for_selection(self) -> None:
        """Fault 9 of the peers: with every test label and feature corrupted, no weight changes."""
        clips, labels = shaped(30)
        parts = [Part(np.arange(0, 16), np.arange(16, 24)), Part(np.arange(8, 24), np.arange(0, 8))]
        honest = make_trainer(clips, labels, parts)
        corrupted = labels.copy()
        corrupted[24:] = 1 - corrupted[24:]
        changed = make_trainer([*clips[:24], *[None] * 6], corrupted, parts)
        assert run(honest) == run(changed)
        assert same(weights(honest), weights(changed))

    def test_a_held_out_label_reaches_only_the_choice_of_the_epoch_and_the_fusion(self) -> None:
        clips, labels = shaped(24)
        part = [Part(np.arange(16), np.arange(16, 24))]
        config = replace(QUICK, epochs=1)
        honest = make_trainer(clips, labels, part, config=config)
        corrupted = labels.copy()
        corrupted[16:] = 1 - corrupted[16:]
        changed = make_trainer(clips, corrupted, part, config=config)
        run(honest)
        run(changed)
        ours, theirs = weights(honest), weights(changed)
        assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {"temperature"}


class TestMembers:
    def test_each_is_trained_on_its_own_part(self) -> None:
        clips, labels = shaped(24)
        parts = [Part(np.arange(0, 12), np.arange(12, 24)), Part(np.arange(12, 24), np.arange(0, 12))]
        honest = make_trainer(clips, labels, parts)
        wrong = labels.copy()
        wrong[12:] = 1 - wrong[12:]
        # Without early stopping, so that the held-out clips have no influence.
        changed = make_trainer(clips, wrong, parts, config=QUICK)
        for trainer in (honest, changed):
            for _ in trainer.run():
                pass
        ours, theirs = weights(honest), weights(changed)
        assert [same(member(ours, number), member(theirs, number)) for number in range(2)] == [True, False]

    def test_features_are_standardised_on_the_part_only(self) -> None:
        clips, labels = shaped(24)
        parts = [Part(np.arange(0, 12), np.arange(12, 24))]
        trainer = make_trainer(clips, labels, parts)
        rows = np.concatenate([clip.sequences["motion"][0, 0] for clip in clips[:12]]).astype(np.float32)
        (branch,) = trainer.classifier.branches
        np.testing.assert_allclose(branch.standardise.mean[0], rows.mean(0), atol=1e-4)
        np.testing.assert_allclose(1 / branch.standardise.scale[0], rows.std(0), rtol=1e-3)

    def test_padding_does_not_affect_the_statistics(self) -> None:
        clips, labels = shaped(2)
        trainer = make_trainer(clips, labels, [Part(np.arange(2), np.zeros(0, np.int64))])
        (branch,) = trainer.classifier.branches
        mean = branch.standardise.mean.clone()
        steps = clips[0].sequences["motion"].astype(np.float16)
        long = ClipFeatures({"motion": np.repeat(steps, 9, axis=2)}, {})
        standardise(trainer.classifier, 0, [long])
        only = clips[0].sequences["motion"][0, 0].astype(np.float32).mean(0)
        np.testing.assert_allclose(branch.standardise.mean[0], only, atol=1e-3)
        assert not torch.equal(branch.standardise.mean, mean)


class TestRareClasses:
    def test_weights_are_inverse_to_the_counts_and_1_on_average(self) -> None:
        labels = np.array([0] * 8 + [1] * 2 + [2] * 2)
        found = rarity(labels, 3)
        assert found.tolist() == pytest.approx([0.5, 2, 2])
        assert found[labels].mean() == pytest.approx(1)

    def test_a_class_missing_in_a_part_does_no_harm(self) -> None:
        found = rarity(np.array([0, 0, 2]), 3)
        assert np.isfinite(found).all()
        assert found[[0, 0, 2]].mean() == pytest.approx(1)

    @staticmethod
    def recall_of_rare(balance: BatchBalance) -> float:
        clips, labels = shaped(240, seed=1)
        rng = np.random.default_rng(0)
        noisy = [
            ClipFeatures({"motion": c.sequences["motion"] + rng.normal(0, 3, 6).astype(np.float16)}, {})
            for c in clips
        ]
        rare = [i for i in range(200) if labels[i] == 0 or i % 20 == 1]
        part = Part(np.array(rare), np.zeros(0, np.int64))
        config = TrainConfig(epochs=10, balance=balance, warmup_epochs=1)
        trainer = make_trainer(noisy, labels, [part], config=config)
        run(trainer)
        test = [i for i in range(240) if labels[i] == 1 and i not in rare]
        return accuracy(trainer, [noisy[i] for i in test], labels[test])

    def test_balance_finds_more_of_the_rare_class(self) -> None:
        plain = self.recall_of_rare("none")
        assert self.recall_of_rare("loss") > plain + 0.1
        assert self.recall_of_rare("sampler") > plain + 0.1


class TestRecipe:
    def test_the_rate_warms_up_and_falls_to_zero(self) -> None:
        clips, labels = shaped(8)
        config = TrainConfig(epochs=20, warmup_epochs=5, patience=0)
        rates = [m["learning_rate"] for m in run(make_trainer(clips, labels, config=config))]
        assert rates.index(max(rates)) in (4, 5)
        assert max(rates) == pytest.approx(config.learning_rate, rel=0.05)
        assert rates[:5] == sorted(rates[:5])
        assert rates[5:] == sorted(rates[5:], reverse=True)
        assert rates[-1] < 0.01 * config.learning_rate

    def test_gradients_are_clipped_branch_by_branch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clips, labels = shaped(12)
        trainer = make_trainer(clips, labels)
        norms: list[float] = []
        original = AdamW.step

        def spy(self: AdamW, rate: float) -> None:
            gradients = {n: p.grad for n, p in trainer.classifier.named_parameters() if p.grad is not None}
            for number in range(2):
                own = [gradient.norm() for gradient in member(gradients, number).values()]
                norms.append(float(torch.stack(own).norm()))
            original(self, rate)

        monkeypatch.setattr(AdamW, "step", spy)
        far = [ClipFeatures({"motion": c.sequences["motion"]}, {}) for c in clips]
        with torch.no_grad():
            for branch in trainer.classifier.branches:
                for parameter in branch.classify.parameters():
                    parameter.mul_(100)
        trainer._networks.clips = far
        run(trainer)
        assert max(norms) == pytest.approx(1.0, abs=1e-4)


class TestOrder:
    """What the LSTM is for: a problem whose classes differ only in the order of the steps."""

    CONFIG = TrainConfig(epochs=25, batch_size=16, warmup_epochs=2, patience=0)

    def accuracy(self, head: HeadKind) -> float:
        clips, labels = ordered(80)
        parts = [Part(np.arange(80), np.zeros(0, np.int64))]
        trainer = make_trainer(clips, labels, parts, config=self.CONFIG, head=head)
        run(trainer)
        return accuracy(trainer, *ordered(100, seed=1))

    @pytest.mark.parametrize("head", ["lstm", "gru"])
    def test_recurrent_heads_solve_it(self, head: HeadKind) -> None:
        assert self.accuracy(head) >= 0.95

    def test_the_mean_head_stays_at_chance(self) -> None:
        assert self.accuracy("mean") == pytest.approx(0.5, abs=0.02)  # a pair's clips get one label
