"""Findings of a report: mistakes, doubtful hits, confused classes, and cautions about the figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidlstm.evaluations import EvalReport, Scored
from vidlstm.records import Score

_SHOWN_CLASSES = 6
_WIDE = 0.2  # 95 % interval of the accuracy from which the clips are called few
_CONFUSED = 4  # mistakes between two classes from which they are called confused
_MANY_FAILED = 0.1  # share of unreadable clips from which repairing them is the first advice
_BASELINES = {
    "video": {
        "majority": "always the most frequent class",
        "mean": "the same model without frame order",
    },
    "picture": {
        "majority": "always the most frequent class",
        "mean": "the same model without region order",
    },
}


@dataclass(frozen=True)
class Confusion:
    """One class taken for another."""

    true: str
    guess: str
    num_clips: int
    share: float


def top(report: EvalReport, clip: Scored, number: int) -> list[Score]:
    """Return the best classes of a clip that did not fail, best first."""
    order = np.argsort(-np.array(clip.scores), kind="stable")[:number]
    return [Score(report.classes[i], clip.scores[i]) for i in order]


def mistakes(report: EvalReport, number: int) -> list[Scored]:
    """Return the mistakes with the highest scores, highest first."""
    wrong = [s for s in report.scored if not s.failed and top(report, s, 1)[0].label != s.label]
    return sorted(wrong, key=lambda s: -max(s.scores))[:number]


def doubtful_hits(report: EvalReport, number: int) -> list[Scored]:
    """Return the correct clips with the lowest scores, lowest first."""
    right = [s for s in report.scored if not s.failed and top(report, s, 1)[0].label == s.label]
    return sorted(right, key=lambda s: max(s.scores))[:number]


def confusions(report: EvalReport, number: int) -> list[Confusion]:
    """Return the most frequent confusions of two classes, most frequent first."""
    found = [
        Confusion(report.classes[true], report.classes[guess], count, count / report.per_class[true].support)
        for true, row in enumerate(report.confusion)
        for guess, count in enumerate(row)
        if count and guess != true
    ]
    return sorted(found, key=lambda c: (-c.num_clips, -c.share))[:number]


def baseline_name(name: str, report: EvalReport) -> str:
    """Return a baseline in words."""
    return _BASELINES[report.kind][name]


def baselines(report: EvalReport) -> list[tuple[str, float]]:
    """Return the description and top-1 of each baseline."""
    return [(baseline_name(name, report), top1) for name, top1 in report.baselines.items()]


@dataclass(frozen=True)
class Caution:
    """A caveat about the figures.

    Args:
        short: A few words, for a line with all cautions.
        text: The full text.
    """

    short: str
    text: str


def cautions(report: EvalReport) -> list[str]:
    """Return the cautions in full sentences."""
    return [caution.text for caution in find_cautions(report)]


def find_cautions(report: EvalReport) -> list[Caution]:
    """Return the cautions that apply to a report."""
    found = []
    noun = _noun(report)
    order = "frame order" if report.kind == "video" else "region order"
    low, high = report.top1_interval.low, report.top1_interval.high
    if is_uncertain(report):
        found.append(
            Caution(
                f"scored on only {_count(report.num_clips, noun)}",
                f"The 95 % interval of the accuracy is {100 * (high - low):.0f} points wide: "
                f"{_count(report.num_clips, noun)} of {_count(report.num_groups, 'group')} cannot show how "
                "good the model is.",
            )
        )
    if report.num_groups < 10:
        groups = _count(report.num_groups, "group")
        found.append(
            Caution(
                f"scored on only {groups}",
                f"The interval is computed from {groups}, so it understates the uncertainty.",
            )
        )
    if report.top1 == 1.0:
        unseen = 1 - 0.025 ** (1 / report.num_clips)  # end of the exact binomial interval (Clopper & Pearson)
        found.append(
            Caution(
                f"no mistakes in {_count(report.num_clips, noun)} does not mean there are none",
                f"No mistake in {_count(report.num_clips, noun)} does not mean that there are none. Even if "
                f"all {noun}s are independent, an error rate of up to {100 * unseen:.0f} % is plausible.",
            )
        )
    if low <= report.majority:
        found.append(
            Caution(
                "not clearly better than the most frequent class",
                "The model is not clearly better than always predicting the most frequent class "
                f"({100 * report.majority:.0f} %).",
            )
        )
    if report.baseline is not None and report.baseline.gain.low <= 0:
        gain = report.baseline.gain
        found.append(
            Caution(
                f"not clearly better than ignoring the {order}",
                f"The same model without {order} gives {100 * report.baseline.top1:.1f} %. The model differs "
                f"from it by {100 * gain.low:+.1f} to {100 * gain.high:+.1f} points (95 % interval): on "
                f"these {noun}s the difference is within chance.",
            )
        )
    if few := [c.label for c in report.per_class if c.support < 5]:
        names = ", ".join(few[:_SHOWN_CLASSES])
        more = f" and {len(few) - _SHOWN_CLASSES} more" if len(few) > _SHOWN_CLASSES else ""
        found.append(
            Caution(
                f"{_count(len(few), 'class')} scored on fewer than 5 {noun}s",
                f"Fewer than 5 {noun}s each, so the figures of these classes are unreliable: {names}{more}.",
            )
        )
    return found


def is_uncertain(report: EvalReport) -> bool:
    """Whether there are too few clips to tell how good the model is."""
    return report.top1_interval.high - report.top1_interval.low > _WIDE


def untested(report: EvalReport) -> list[str]:
    """Return the classes with fewer than two clips, whose accuracy is practically unknown."""
    return [c.label for c in report.per_class if c.support < 2]


def next_step(report: EvalReport) -> str | None:
    """Return one sentence of advice on what would improve the model or its figures most, or None."""
    noun = _noun(report)
    if report.failed and len(report.failed) >= _MANY_FAILED * len(report.scored):
        return f"repair or remove the {_count(len(report.failed), noun)} that could not be read."
    if report.top1_interval.low <= report.majority:
        return (
            f"more {noun}s: the model is not clearly better than always naming one class. Start with 15 to "
            f"20 {noun}s per class, from five or more people or recordings."
        )
    if (advice := _confused_pair(report) or _worst_class(report)) is not None:
        return advice
    if names := untested(report):
        return f'more {noun}s of "{names[0]}", from other people or recordings.'
    if report.num_groups < 10:
        return f"{noun}s of more people or recordings, so that the model generalises to new ones."
    if len(report.classes) < 12 and not set(report.classes) & {"other", "none", "background", "unknown"}:
        return f"a class named other, with {noun}s of anything else, if the model will see such {noun}s."
    return None


def _worst_class(report: EvalReport) -> str | None:
    """Return advice on the class with the most mistakes, at least two; None if no class has as many."""
    wrong = [
        [0 if guess == true else n for guess, n in enumerate(row)]
        for true, row in enumerate(report.confusion)
    ]
    worst = max(range(len(wrong)), key=lambda true: sum(wrong[true]))
    if sum(wrong[worst]) < 2:
        return None
    guess = max(range(len(wrong)), key=wrong[worst].__getitem__)
    label, right, total = report.classes[worst], report.confusion[worst][worst], sum(report.confusion[worst])
    return (
        f'more recordings of "{label}": {right} of {total} {_noun(report)}s right, '
        f'{wrong[worst][guess]} taken for "{report.classes[guess]}"{_shortage(report, label)}.'
    )


def _confused_pair(report: EvalReport) -> str | None:
    """Return advice on two classes that are taken for one another, and for little else; None: there are none.

    These are most of the mistakes on both classes, and most of the mistakes on each of them.
    """
    wrong = np.array(report.confusion)
    np.fill_diagonal(wrong, 0)
    mutual = np.minimum(wrong, wrong.T)
    one, other = (int(i) for i in np.unravel_index(mutual.argmax(), mutual.shape))
    there, back = int(wrong[one, other]), int(wrong[other, one])
    is_most = 2 * there > wrong[one].sum() and 2 * back > wrong[other].sum()
    if there + back < _CONFUSED or not min(there, back) or not is_most:
        return None
    noun = _noun(report)
    return (
        f'look at "{report.classes[one]}" and "{report.classes[other]}": {there + back} {noun}s of these two '
        f"are taken for the other one, most of their mistakes. Add {noun}s in which they differ, correct "
        "labels (`vidlstm review`), or merge the two."
    )


def _shortage(report: EvalReport, label: str) -> str:
    """Return in what a class is far behind the others, as the end of a sentence; empty if in nothing."""
    clips = {row.label: row.support for row in report.per_class}
    groups = {name: len({s.group for s in report.scored if s.label == name}) for name in clips}
    for counts, noun in ((clips, _noun(report)), (groups, "group")):
        usual = float(np.median([number for name, number in counts.items() if name != label]))
        if 2 * counts[label] <= usual:
            return f"; it has {_count(counts[label], noun)}, the other classes mostly {usual:.0f}"
    return ""


def _noun(report: EvalReport) -> str:
    return "clip" if report.kind == "video" else "picture"


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
