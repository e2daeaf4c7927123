"""The figures of an evaluation, checked against scikit-learn and by hand; failed clips are mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from numpy.typing import NDArray

from tests.engine.toys import WIDTHS, features, model_config, shaped
from vidlstm.config import ModelConfig
from vidlstm.engine.scoring import log_probabilities, score_clips
from vidlstm.engine.views import View, views_of
from vidlstm.errors import FailureCode
from vidlstm.evaluations import Scored
from vidlstm.features.batches import ClipFeatures
from vidlstm.metrics.classification import summarise
from vidlstm.metrics.intervals import gain_interval, group_interval
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.records import Problem

CLASSES = ("a", "b", "c", "d", "e", "f", "g")
UNREADABLE = Problem(FailureCode.NOT_A_VIDEO, "is not a video")


def clip(label: str, scores: Sequence[float], group: str = "g") -> Scored:
    problem = None if scores else UNREADABLE
    return Scored(Path(f"{label}.mp4"), label, group, tuple(scores), problem)


def table(num_clips: int = 60, num_failed: int = 0) -> list[Scored]:
    """Return clips with random labels and scores, in ten groups; the first ones failed."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(num_clips):
        label = int(rng.integers(5))  # classes f and g have no clip
        scores = rng.dirichlet(np.where(np.arange(7) == label, 2, 0.7))
        rows.append(clip(CLASSES[label], () if number < num_failed else tuple(scores), f"g{number % 10}"))
    return rows


def arrays(rows: list[Scored]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.array([CLASSES.index(r.label) for r in rows]), np.array([r.scores for r in rows])


class TestFigures:
    def test_agree_with_scikit_learn(self) -> None:
        rows = table()
        truth, scores = arrays(rows)
        guess = scores.argmax(1)
        report = summarise(CLASSES, rows)
        assert report.top1 == pytest.approx(reference.accuracy_score(truth, guess))
        assert report.top5 == pytest.approx(
            reference.top_k_accuracy_score(truth, scores, k=5, labels=range(7))
        )
        present = sorted(set(truth.tolist()))
        recall = reference.recall_score(truth, guess, labels=present, average="macro")
        assert report.mean_class_accuracy == pytest.approx(recall)
        macro = reference.f1_score(truth, guess, labels=present, average="macro")
        assert report.macro_f1 == pytest.approx(macro)
        assert np.array_equal(report.confusion, reference.confusion_matrix(truth, guess, labels=range(7)))
        for number, row in enumerate(report.per_class):
            own = truth == number
            assert row.support == own.sum()
            assert row.recall == pytest.approx((guess[own] == number).mean() if own.any() else 0)
            said = guess == number
            assert row.precision == pytest.approx((truth[said] == number).mean() if said.any() else 0)

    def test_of_a_table_by_hand(self) -> None:
        rows = [
            clip("a", (0.7, 0.2, 0.1)), clip("a", (0.4, 0.5, 0.1)), clip("b", (0.1, 0.8, 0.1)),
            clip("c", (0.6, 0.3, 0.1)),
        ]  # fmt: skip
        report = summarise(("a", "b", "c"), rows)
        assert (report.num_clips, report.top1, report.top5, report.majority) == (4, 0.5, 1.0, 0.5)
        assert report.confusion == ((1, 1, 0), (0, 1, 0), (1, 0, 0))
        assert report.mean_class_accuracy == pytest.approx((0.5 + 1 + 0) / 3)
        assert [r.precision for r in report.per_class] == pytest.approx([0.5, 0.5, 0])

    def test_equal_scores_give_the_first_class(self) -> None:
        assert summarise(("a", "b"), [clip("a", (0.5, 0.5)), clip("b", (0.5, 0.5))]).top1 == 0.5

    def test_top5_of_fewer_than_six_classes_is_the_readable_share(self) -> None:
        assert summarise(("a", "b"), [clip("a", (0.1, 0.9)), clip("b", ())]).top5 == 0.5


class TestFailedClips:
    """Faults 8 and 11 of the peers: an unreadable clip is replaced, or silently left out of the score."""

    def test_count_as_mistakes(self) -> None:
        good, some_failed = table(60), table(60, num_failed=12)
        report = summarise(CLASSES, some_failed)
        assert (report.num_clips, len(report.failed)) == (60, 12)
        hits = sum(CLASSES[int(np.argmax(r.scores))] == r.label for r in some_failed[12:])
        assert report.top1 == pytest.approx(hits / 60)
        assert report.top1 <= summarise(CLASSES, good).top1
        assert np.sum(report.confusion) == 48
        assert sum(row.support for row in report.per_class) == 60

    def test_lower_the_recall_of_their_class_and_no_precision(self) -> None:
        rows = [clip("a", (0.9, 0.1)), clip("a", ()), clip("b", (0.2, 0.8))]
        a, b = summarise(("a", "b"), rows).per_class
        assert (a.recall, a.precision, b.precision) == (0.5, 1, 1)

    def test_are_not_top5_hits(self) -> None:
        assert summarise(CLASSES, [clip("a", ()), clip("b", ())]).top5 == 0

    def test_may_be_all_clips(self) -> None:
        report = summarise(CLASSES, [clip("a", ()), clip("b", ())])
        assert (report.top1, report.top1_interval.low, report.ece) == (0, 0, 0)
        assert np.shape(report.confusion) == (7, 7)

    def test_are_named_with_the_reason(self) -> None:
        listed = summarise(CLASSES, table(5, num_failed=1)).to_json()["failed"]
        assert [row["error"] for row in listed] == [{"code": "not_a_video", "message": "is not a video"}]


class TestInterval:
    def test_contains_the_accuracy_and_stays_within_0_and_1(self) -> None:
        report = summarise(CLASSES, table())
        low, high = report.top1_interval.low, report.top1_interval.high
        assert 0 <= low < report.top1 < high <= 1

    def test_is_wider_over_groups_than_over_clips_when_the_clips_of_a_group_agree(self) -> None:
        hit = np.repeat([True, True, False, True, False, True, True, False], 10)
        groups = np.repeat(np.arange(8), 10)
        grouped, alone = group_interval(hit, groups), group_interval(hit, np.arange(80))
        assert grouped.high - grouped.low > 2 * (alone.high - alone.low)

    def test_over_clips_is_nearly_the_binomial_interval(self) -> None:
        hit = np.arange(400) % 4 != 0
        found = group_interval(hit, np.arange(400))
        spread = 1.96 * np.sqrt(0.75 * 0.25 / 400)
        assert found.low == pytest.approx(0.75 - spread, abs=0.01)
        assert found.high == pytest.approx(0.75 + spread, abs=0.01)

    @pytest.mark.parametrize("num_groups", [1, 2, 12])
    def test_without_mistakes_is_that_of_independent_clips(self, num_groups: int) -> None:
        found = group_interval(np.ones(24, bool), np.arange(24) % num_groups)
        assert found.low == pytest.approx(24 / (24 + 1.959964**2))  # Wilson's, by hand
        assert found.high == 1

    def test_of_one_group_is_no_narrower_than_that_of_independent_clips(self) -> None:
        found = group_interval(np.array([True, False] * 10), np.zeros(20, np.int64))
        assert 0.2 < found.low < 0.35 < 0.65 < found.high < 0.8

    def test_is_the_same_for_the_same_seed(self) -> None:
        rows = table()
        assert summarise(CLASSES, rows, seed=3) == summarise(CLASSES, rows, seed=3)


class TestGain:
    def test_by_hand(self) -> None:
        """20 and 30 of 40 right, independently: the margins of the Wilson intervals, added in quadrature."""
        hit = np.tile([True, False], 20)
        other = np.repeat([True, True, True, False], 10)
        (a, b), (c, d) = (0.3520, 0.6480), (0.5981, 0.8581)
        gain = gain_interval(hit, other, np.arange(40))
        assert gain.low == pytest.approx(-0.25 - np.hypot(0.5 - a, d - 0.75), abs=0.02)
        assert gain.high == pytest.approx(-0.25 + np.hypot(b - 0.5, 0.75 - c), abs=0.02)

    def test_is_narrower_if_both_fail_on_the_same_clips(self) -> None:
        hit = np.repeat([True, False], [30, 10])
        alike = gain_interval(hit, np.repeat([True, False], [28, 12]), np.arange(40))
        otherwise = gain_interval(hit, np.repeat([False, True], [12, 28]), np.arange(40))
        assert alike.high - alike.low < 0.6 * (otherwise.high - otherwise.low)

    def test_is_not_zero_width_without_differing_pairs(self) -> None:
        right = np.ones(20, bool)
        gain = gain_interval(right, right, np.arange(20))
        assert gain.low == -gain.high < -0.1

    def test_is_wider_for_few_groups_than_for_as_many_clips(self) -> None:
        hit, other = np.ones(60, bool), np.repeat([True, True, False], 20)
        alone = gain_interval(hit, other, np.arange(60))
        three = gain_interval(hit, other, np.repeat([0, 1, 2], 20))
        assert three.low < alone.low
        assert three.high > alone.high


class TestCalibration:
    def test_is_reported_with_and_without_the_temperature(self) -> None:
        """By hand: two clips with logits (2, 0), one of them right, at a temperature of 2."""
        sure = [1 / (1 + np.exp(-2 / t)) for t in (1.0, 2.0)]
        rows = [clip(label, (sure[1], 1 - sure[1])) for label in "ab"]
        report = summarise(("a", "b"), rows, temperature=2.0)
        assert report.ece == pytest.approx(sure[1] - 0.5)
        assert report.ece_uncalibrated == pytest.approx(sure[0] - 0.5)

    def test_without_it_equals_that_of_the_uncalibrated_model(self) -> None:
        calibrated = model()
        clips, labels = shaped(12)
        with torch.no_grad():
            calibrated.classifier.temperature.fill_(1.7)
            calibrated.classifier.floor.fill_(0.1)
        rows = [clip("ab"[c], tuple(p)) for c, p in zip(labels, score_clips(calibrated, clips), strict=True)]
        told = summarise(("a", "b"), rows, temperature=1.7, floor=0.1).ece_uncalibrated
        with torch.no_grad():
            calibrated.classifier.temperature.fill_(1)
            calibrated.classifier.floor.fill_(0)
        rows = [clip("ab"[c], tuple(p)) for c, p in zip(labels, score_clips(calibrated, clips), strict=True)]
        assert told == pytest.approx(summarise(("a", "b"), rows).ece, abs=1e-6)

    def test_of_unreadable_clips_is_none(self) -> None:
        report = summarise(("a", "b"), [clip("a", ())], temperature=1.2)
        assert (report.ece, report.ece_uncalibrated) == (0, 0)


def model(views: int = 1, mirror: bool = False) -> Model:
    torch.manual_seed(0)
    config: ModelConfig = model_config().changed(views=views, mirror=mirror)
    built = build_model(config, WIDTHS, None)
    built.modules().eval()
    return built


class TestScores:
    def test_are_probabilities(self) -> None:
        scores = score_clips(model(), shaped(6)[0])
        assert scores.shape == (6, 2)
        np.testing.assert_allclose(scores.sum(1), 1, atol=1e-6)
        assert score_clips(model(), []).shape == (0, 2)

    def test_do_not_depend_on_other_clips(self) -> None:
        clips = shaped(9)[0]
        together = score_clips(model(), clips)
        alone = np.concatenate([score_clips(model(), [c]) for c in clips])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    def test_keep_the_order_of_the_clips_across_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clips = shaped(23)[0]
        whole = score_clips(model(), clips)
        monkeypatch.setattr("vidlstm.engine.scoring._BATCH", 5)
        np.testing.assert_allclose(score_clips(model(), clips), whole, atol=1e-5)

    def test_do_not_remember_earlier_clips(self) -> None:
        clips, network = shaped(4)[0], model()
        first = score_clips(network, clips)
        score_clips(network, shaped(8, seed=5)[0])
        np.testing.assert_array_equal(score_clips(network, clips), first)

    def test_average_over_all_views_and_not_only_the_first(self) -> None:
        """Fault 5 of the peers: an average over clips that uses only the first one."""
        views = np.random.default_rng(0).normal(size=(1, 3, 5, 6)).astype(np.float16)
        network = model(views=3)
        scores = log_probabilities(
            network.classifier, [ClipFeatures({"motion": views}, {})], views_of(network.config),
            torch.device("cpu"),
        )  # fmt: skip
        single = [
            log_probabilities(network.classifier, [features(v)], [View()], torch.device("cpu"))
            for v in views[0].astype(np.float32)
        ]
        torch.testing.assert_close(scores, torch.stack(single).mean(0).log_softmax(-1))
        assert (scores - single[0]).abs().max() > 1e-3

    def test_average_over_the_mirrored_clip_if_it_may_be_mirrored(self) -> None:
        assert views_of(model(views=2, mirror=True).config) == [
            View(0),
            View(0, True),
            View(1),
            View(1, True),
        ]
        assert views_of(model(views=2).config) == [View(0), View(1)]
        assert views_of(model(mirror=True).config) == [View(None), View(None, True)]
