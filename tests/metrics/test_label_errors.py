"""Confident learning: suspicious labels, checked by hand and against the authors' library."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.metrics.label_errors import find_label_errors


def noisy(
    seed: int, number: int = 300, num_classes: int = 5
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return given labels, a tenth of them wrong, true labels and scores of a fair model."""
    rng = np.random.default_rng(seed)
    true = rng.integers(num_classes, size=number)
    given = true.copy()
    flipped = rng.permutation(number)[: number // 10]
    given[flipped] = (given[flipped] + rng.integers(1, num_classes, size=len(flipped))) % num_classes
    logits = rng.normal(size=(number, num_classes)) + 2.5 * np.eye(num_classes)[true]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return given, true, scores


def test_a_clip_that_reaches_the_threshold_of_another_class_is_suspicious() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    scores = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9]])
    # Thresholds: class 0 (0.9 + 0.7 + 0.1) / 3 = 0.57, class 1 (0.8 + 0.6) / 2 = 0.70.
    [found] = find_label_errors(labels, scores)
    assert (found.index, found.suggested, found.score) == (4, 1, 0.9)
    assert found.given_score == pytest.approx(0.1)


def test_a_clip_below_the_threshold_is_not() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9]])
    assert find_label_errors(labels, scores) == []


def test_wrong_labels_are_found_among_nearly_equal_scores() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 0])
    sure = np.array([0.931, 0.932, 0.933, 0.072, 0.068, 0.07, 0.07])
    assert [e.index for e in find_label_errors(labels, np.stack([sure, 1 - sure], axis=1))] == [6]


def test_the_most_suspicious_comes_first() -> None:
    given, _, scores = noisy(0)
    given_scores = [error.given_score for error in find_label_errors(given, scores)]
    assert len(given_scores) > 10
    assert given_scores == sorted(given_scores)


def test_a_class_without_clips_and_an_empty_data_set_work() -> None:
    labels = np.array([0, 0, 1])
    scores = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    assert find_label_errors(labels, scores) == []
    assert find_label_errors(np.zeros(0, np.int64), np.zeros((0, 3))) == []


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_authors_library(seed: int) -> None:
    cleanlab = pytest.importorskip("cleanlab.filter")
    given, _, scores = noisy(seed, num_classes=2 + seed)
    theirs = cleanlab.find_label_issues(
        given, scores, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    found = find_label_errors(given, scores, slack=1e-6)  # as in their library
    ours = [error.index for error in found]
    assert sorted(ours) == sorted(theirs.tolist())
    by_score = {error.index: error.given_score for error in found}
    assert [by_score[i] for i in theirs] == pytest.approx([by_score[i] for i in ours])


@pytest.mark.parametrize("seed", range(3))
def test_most_of_what_it_finds_is_mislabelled(seed: int) -> None:
    given, true, scores = noisy(seed)
    first = [error.index for error in find_label_errors(given, scores)][:20]
    assert np.mean([given[i] != true[i] for i in first]) >= 0.8
