"""Choose the clips to label first: those unlike the training data, then the least certain ones.

Active learning by margin (Scheffer et al. 2001). On CIFAR-10 pictures, with 5 of each class and 50 more, this
is hardly better than a random choice. Mean top-1 of seeds 0 to 4, by
`python -m tests.benchmarks.active_choice`: random 0.583, this order 0.587, by the margin alone 0.592. Methods
that also diversify the choice gained less than the 3 points that would justify their code: in turn from every
suggested class 0.576; k-means on the encoder's features weighted by uncertainty 0.608, but rows of `predict`
do not have these features.
"""

from __future__ import annotations

from dataclasses import replace

from vidlstm.engine.review.items import ReviewItem, ReviewList


def choose(review: ReviewList, budget: int) -> ReviewList:
    """Return the clips that are most worth labelling, the most doubtful first.

    Args:
        review: All clips.
        budget: Number of clips to choose.
    """
    order = sorted(review.items, key=lambda item: (not item.unknown, margin(item)))
    return replace(review, items=tuple(order[:budget]))


def margin(item: ReviewItem) -> float:
    """Return the difference of the two best scores; without scores per class, the best score."""
    return item.top[0][1] - item.top[1][1] if len(item.top) > 1 else item.score
