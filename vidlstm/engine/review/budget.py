"""Choose the clips to label first: those with the least certain predictions, spread over the classes.

Active learning by margin (Scheffer et al. 2001), alternating between the suggested classes, so that near
copies of one doubtful clip do not fill the budget. Clips unlike the training data come first.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace

from vidlstm.engine.review.items import ReviewItem, ReviewList


def choose(review: ReviewList, budget: int) -> ReviewList:
    """Return the clips that are most worth labelling, the most doubtful first.

    Args:
        review: All clips.
        budget: Number of clips to choose.
    """
    queues: defaultdict[str, deque[ReviewItem]] = defaultdict(deque)
    for item in sorted(review.items, key=lambda i: (not i.unknown, margin(i))):
        queues[item.suggested].append(item)
    chosen: list[ReviewItem] = []
    # The class with the fewest clips comes first, because it lacks examples.
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
    """Return the difference of the two best scores; without scores per class, the best score."""
    return item.top[0][1] - item.top[1][1] if len(item.top) > 1 else item.score
