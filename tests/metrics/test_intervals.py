"""McNemar's exact test, against scipy's binomial test by hand and as a table."""

from __future__ import annotations

import pytest

from vidlstm.metrics.intervals import mcnemar


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),  # nothing tells them apart
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


def test_mcnemar_of_many_clips_is_near_the_chi_squared_approximation() -> None:
    assert mcnemar(600, 500) == pytest.approx(0.0028, abs=2e-4)  # (|600 - 500| - 1)^2 / 1100 = 8.91
