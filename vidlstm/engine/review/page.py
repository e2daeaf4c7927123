"""The review page of a list of clips, with thumbnails of every clip that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vidlstm.engine.extraction.thumbnails import thumbnail_strip
from vidlstm.engine.review.items import ReviewItem, ReviewList
from vidlstm.errors import DataError, InputError
from vidlstm.files import write_atomically
from vidlstm.report.review import ReviewCard, render_review

Progress = Callable[[Iterable[ReviewCard]], Iterable[ReviewCard]]


def write_review(review: ReviewList, file: Path, *, title: str, root: Path, progress: Progress) -> None:
    """Write the page.

    Args:
        review: The clips, in their order.
        file: Path of the page, in an existing folder.
        title: Title of the page.
        root: Folder for relative paths that do not exist otherwise.
        progress: Wraps the iterable of cards to show progress.

    Raises:
        DataError: None of the clips can be read.
        OSError: The page cannot be written.
    """
    cards = list(progress(_cards(review.items, root)))
    if not any(card.images for card in cards):
        raise DataError(
            f"none of the {len(cards)} clips can be read (first: {cards[0].path}); "
            "run the command in the same folder as `vidlstm predict`, or give the clips' folder with `root`"
        )
    write_atomically(file, render_review(cards, review.classes, title).encode("utf-8", "replace"))


def _cards(items: Iterable[ReviewItem], root: Path) -> Iterator[ReviewCard]:
    for item in items:
        yield ReviewCard(
            path=item.path,
            label=item.label,
            suggested=item.suggested,
            score=item.score,
            top=item.top,
            start=item.start,
            end=item.end,
            subset=item.subset,
            unknown=item.unknown,
            images=_thumbnails(item, root),
        )


def _thumbnails(item: ReviewItem, root: Path) -> list[bytes]:
    try:
        return thumbnail_strip(item.find(root), item.kind, item.span)
    except (InputError, OSError):
        return []  # the page works without thumbnails
