"""Which clips to label first: the ones that the model is least sure of, spread over its classes.

Active learning by margin (Scheffer et al. 2001), taken in turn from the classes that the model suggests,
so that near copies of one doubtful clip do not fill the budget; clips unlike the training data first.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace

from vidlstm.engine.review.items import ReviewItem, ReviewList


def choose(review: ReviewList, budget: int) -> ReviewList:
    """Return the clips that are most worth labelling, the most doubtful first.

    Args:
        review: All clips.
        budget: How many to choose.
    """
    queues: defaultdict[str, deque[ReviewItem]] = defaultdict(deque)
    for item in sorted(review.items, key=lambda i: (not i.unknown, margin(i))):
        queues[item.suggested].append(item)
    chosen: list[ReviewItem] = []
    # The class with the fewest clips goes first: it is the one that lacks examples.
    order = sorted(queues, key=lambda name: len(queues[name]))
    while len(chosen) < budget and order:
        for name in [*order]:
            if len(chosen) < budget:
                chosen.append(queues[name].popleft())
            if not queues[name]:
                order.remove(name)
    chosen.sort(key=lambda i: (not i.unknown, margin(i)))
    return replace(review, items=tuple(chosen))


def margin(item: ReviewItem) -> float:
    """Return what the best class is ahead of the second by; without scores, the best class's score."""
    return item.top[0][1] - item.top[1][1] if len(item.top) > 1 else item.score
