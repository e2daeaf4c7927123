"""95 % confidence intervals of an accuracy and of the difference of two; McNemar's and Fisher's tests."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidlstm.evaluations import Interval

_RESAMPLES = 2000
_MAX_FLIPS = 2**14


def group_interval(hit: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Return the 95 % interval of the accuracy, by the bootstrap over groups (Davison & Hinkley 1997, 3.8).

    Clips of one recording are correlated, so whole groups are drawn with replacement. With few groups, or
    without mistakes, the bootstrap fails; so the interval is never narrower than for the same number of
    independent clips (Wilson 1927).

    Args:
        hit: Whether each clip is right, bool `(N,)`.
        groups: `(N,)`, numbered from 0.
        seed: Seed of the resampling.
    """
    low, high = _resampled(hit.astype(np.float64), groups, seed)
    share = float(hit.mean())
    below, above = _margins(hit)
    return Interval(max(0.0, min(low, share - below)), min(1.0, max(high, share + above)))


def gain_interval(
    hit: NDArray[np.bool_], other: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int = 0
) -> Interval:
    """Return the 95 % interval of the difference of two accuracies on the same clips.

    As for `group_interval`, whole groups are drawn, and the interval is never narrower than for the same
    number of independent pairs (Newcombe 1998, method 10 without continuity correction).

    Args:
        hit: Whether each clip is right, bool `(N,)`.
        other: The same for the other classifier, bool `(N,)`.
        groups: `(N,)`, numbered from 0.
        seed: Seed of the resampling.
    """
    gain = hit.astype(np.float64) - other
    low, high = _resampled(gain, groups, seed)
    (below, above), (other_below, other_above) = _margins(hit), _margins(other)
    vary = hit.std() > 0 and other.std() > 0
    twice = 2 * float(np.corrcoef(hit, other)[0, 1]) if vary else 0.0
    down = _of_difference(below, other_above, twice)
    up = _of_difference(above, other_below, twice)
    return Interval(min(low, float(gain.mean()) - down), max(high, float(gain.mean()) + up))


def _of_difference(one: float, other: float, twice: float) -> float:
    """Return the margin of a difference from the margins of its parts and twice their correlation."""
    # Rounding makes the square slightly negative if both classifiers are right on the same half of the clips.
    return math.sqrt(max(0.0, one**2 - twice * one * other + other**2))


def _margins(hit: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lower and upper margins of the 95 % interval of a share (Wilson 1927)."""
    count, share, z = len(hit), float(hit.mean()), 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return share - middle + half, middle + half - share


def _resampled(values: NDArray[np.float64], groups: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the mean of `values` `(N,)` when groups are resampled."""
    num_groups = int(groups.max()) + 1
    sums = np.bincount(groups, weights=values, minlength=num_groups)
    sizes = np.bincount(groups, minlength=num_groups)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(_RESAMPLES):  # one by one, as 50,000 groups would need gigabytes at once
        drawn = rng.integers(num_groups, size=num_groups)
        means.append(sums[drawn].sum() / sizes[drawn].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mcnemar(wins: int, losses: int) -> float:
    """Return the p-value of McNemar's exact test (1947; exact: a two-sided binomial test of 1/2).

    Two classifiers are run on the same clips. Only clips on which exactly one of them is right distinguish
    them; if both are equally good, each wins such a clip with probability 1/2.

    Args:
        wins: Clips that only the first classifier gets right.
        losses: Clips that only the second classifier gets right.
    """
    total = wins + losses
    tail, ways = 0, 1
    for k in range(min(wins, losses) + 1):
        tail += ways
        ways = ways * (total - k) // (k + 1)  # the number of ways to choose k + 1 of them
    return float(min(1.0, 2 * tail / 2**total))


def sign_flip(gains: NDArray[np.float64]) -> float:
    """Return the p-value of Fisher's randomisation test (1935), one-sided: that the mean gain is above 0.

    Without an effect, each paired gain is equally likely to have the opposite sign. The p-value is the share
    of all sign assignments whose sum is at least the observed one; if there are more than 2^14, of 2^14
    random ones.

    Args:
        gains: Differences of independent pairs, `(N,)`, at least one.
    """
    number = len(gains)
    if 2**number <= _MAX_FLIPS:
        signs = 1 - 2 * (np.arange(2**number)[:, None] >> np.arange(number) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1, 1], size=(_MAX_FLIPS, number))
        signs[0] = 1  # include the observed signs
    slack = 1e-9 * float(np.abs(gains).sum())  # sums of the same numbers may differ in their last digits
    return float((signs @ gains >= gains.sum() - slack).mean())
