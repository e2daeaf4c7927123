"""Print the events of a running session, and show its progress bar."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vidlstm.cli.console import Console
from vidlstm.data.films import BACKGROUND, PIECE_SECONDS
from vidlstm.data.layouts.folders import count, from_to, lengths, some
from vidlstm.data.samples import relative_name
from vidlstm.engine.events import (
    BaselineInterrupted,
    ClipsExtracted,
    CopiesFound,
    DataFound,
    Diverged,
    EpochEnded,
    FeaturesNotKept,
    Int8Compared,
    Int8Failed,
    Interrupted,
    KnownClips,
    NotCalibrated,
    PoseCompared,
    PoseLeftOut,
    Progress,
    Resumed,
    SplitMade,
    StartKept,
    SubsetChosen,
    UnknownOff,
)
from vidlstm.records import EpochReport
from vidlstm.stores import address_of

if TYPE_CHECKING:
    from tqdm import tqdm

    from vidlstm.data.samples import Dataset

E = TypeVar("E")

_SHOWN = 20  # clips named before "and N more"
_LABELS = {
    "extraction": "Reading",
    "training": "Training",
    "baseline": "Baseline",
    "folds": "Folds",
    "int8": "Int8",
}
_UNITS = {"extraction": "clip", "training": "epoch", "baseline": "epoch", "folds": "fold", "int8": "model"}


def follow(console: Console, events: Generator[E, None, None]) -> E | None:
    """Show every event of a session and return the last one, the result.

    Ctrl-C while an event is shown is passed on to the session, which decides what to keep.
    """
    last = None
    step = partial(next, events)
    with _Shown(console) as shown:
        while True:
            try:
                last = step()
            except StopIteration:
                return last
            step = partial(next, events)
            try:
                shown.show(last)
            except KeyboardInterrupt as error:
                step = partial(events.throw, error)


class _Shown:
    """Prints events; shows at most one progress bar at a time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_bar()

    def show(self, event: object) -> None:
        """Print an event or update the progress bar."""
        match event:
            case Progress(stage, done, total, detail):
                label = _LABELS[stage] + (f", {detail}" if detail else "")
                self._move_bar(label, _UNITS[stage], done, total)
            case EpochEnded(report):
                line = _epoch_line(report)
                self._move_bar(_LABELS["training"], _UNITS["training"], report.epoch, report.num_epochs, line)
                loss = f"training loss {report.train_loss:.3f}"
                if report.val_loss is not None:
                    loss += f", validation loss {report.val_loss:.3f}"
                self.console.detail(f"epoch {report.epoch}/{report.num_epochs}: {line}, {loss}")
            case _:
                self._close_bar()
                _say(self.console, event)

    def _move_bar(self, label: str, unit: str, done: int, total: int, note: str = "") -> None:
        if self._bar is None or self._stage != label or done < self._bar.n:
            self._close_bar()
            self._stage, self._bar = label, self.console.bar(total=total, label=label, unit=unit)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _say(console: Console, event: object) -> None:
    match event:
        case DataFound(dataset):
            _say_dataset(console, dataset)
        case CopiesFound():
            _say_copies(console, event)
        case SplitMade(split):
            held_out = len(split.test) or len(split.val)
            unused = (
                f" The val set ({count(len(split.val), 'clip')}) is not used."
                if split.test and split.val
                else ""
            )
            console.say(f"Split: {len(split.train)} for training, {held_out} held out for the score.{unused}")
            for note in split.notes:
                console.warn(note)
        case SubsetChosen(description):
            console.say(f"Scored: {description}.")
        case KnownClips(note):
            console.warn(note)
        case ClipsExtracted():
            _say_clips(console, event)
        case FeaturesNotKept(store, reason):
            console.warn(f"features could not be stored in {store}: {reason}; the result is the same")
        case Resumed(epoch, _, is_over=True):
            console.say(f"Training had ended after epoch {epoch}: the model is scored and saved.")
        case Resumed(epoch, num_epochs):
            console.say(f"Resumed after epoch {epoch} of {num_epochs}.")
        case Diverged(epoch, best_epoch, learning_rate):
            console.warn(
                f"Training diverged: the loss is not finite in epoch {epoch}. Try a `learning_rate` below "
                f"{learning_rate:g}. The best epoch so far, {best_epoch}, is kept."
            )
        case Interrupted(_, run, holds_earlier=True):
            console.warn(f"Interrupted before the end of the first epoch: {run} still holds the earlier run.")
        case Interrupted(data, run, _, None):
            console.warn(resuming(data, run))
        case Interrupted(data, run, epoch, best_epoch):
            console.warn(
                f"Interrupted after epoch {epoch}. The best epoch so far, {best_epoch}, is kept. "
                f"{resuming(data, run)}"
            )
        case BaselineInterrupted():
            console.warn("Interrupted: the model is saved without the baseline.")
        case Int8Compared(clips, same_labels, difference, kept, is_default):
            found = f"{same_labels} of {clips} labels agree, scores differ by {difference:.4f} on average"
            if is_default:
                use = "`predict` uses it"
            elif kept:
                use = "`predict` is faster with `precision=int8`"
            else:
                use = "not used"
            console.say(f"int8: {found}: {use}.")
        case Int8Failed(reason):
            console.warn(f"The model was not compared in int8: {reason}.")
        case PoseLeftOut(reason):
            console.say(f"pose is left out: {reason}")
        case PoseCompared(choice):
            use = "used." if choice.kept else "not used, and not needed to predict."
            console.say(
                f"pose: {choice.right} of {choice.clips} validation clips right with it, "
                f"{choice.right_without} without; log loss {choice.loss:.3f} and {choice.loss_without:.3f} "
                f"(p = {choice.p:.2g}): {use}"
            )
        case NotCalibrated(goes_on):
            reason, advice = "Too few training clips to hold any out", "Add clips."
            if goes_on:
                reason = "The earlier run was trained on these clips or on others of their groups"
                advice = "Add recordings, or start a new run without `resume` and `start`."
            console.warn(
                f"{reason}: training does not stop early, scores are not calibrated, and no clip is reported "
                f"as unknown. {advice}"
            )
        case UnknownOff(members, size):
            console.warn(
                f"{members} of {size} ensemble members {'has' if members == 1 else 'have'} no held-out clips "
                "left, so no clip is reported as unknown. A new run, without `resume` and `start`, divides "
                "the clips again."
            )
        case StartKept(start):
            console.warn(f"Fine-tuning did not improve the model. The model of {start} is kept.")


def _say_dataset(console: Console, dataset: Dataset) -> None:
    """Print the data set: classes, clips, groups and the rule for the groups."""
    counts = dataset.class_counts.values()
    noun = "clips" if dataset.kind == "video" else "pictures"
    spread = f"{min(counts)} each" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} each"
    console.say(
        f"{dataset.root}: {len(dataset.samples)} {noun} of {len(counts)} classes, {spread}"
        f" ({dataset.layout})."
    )
    if dataset.films:
        num_spans = sum(len(film.spans) for film in dataset.films)
        idle = f', and unlabelled time is cut into clips of "{BACKGROUND}"' * (BACKGROUND in dataset.classes)
        console.say(
            f"Films: {len(dataset.films)} with {count(num_spans, 'span')}; whole films are held out. "
            f"Spans longer than {PIECE_SECONDS:g} s are cut into several clips{idle}."
        )
    console.say(f"Groups: {dataset.num_groups}. {dataset.group_rule}")
    for note in dataset.notes:
        console.say(note)
    for loss in (*dataset.lost, *dataset.cautions):
        console.warn(loss)


def _say_copies(console: Console, found: CopiesFound) -> None:
    """Print the number of clips in several classes or groups, the files of the first one, and the way out."""
    listed = ""
    if address_of(found.data) is None:  # `check` reads local files
        listed = f"; `{shlex.join(['vidlstm', 'check', str(found.data)])}` lists such files"
    in_classes, in_groups = found.copies.in_classes, found.copies.in_groups
    if in_classes:
        files = [f"{sample.name(found.root)} ({sample.label})" for sample in in_classes[0]]
        console.warn(f"{_in_several(len(in_classes), 'classes', files)} Keep each clip in one class{listed}.")
    if in_groups:
        files = [f"{relative_name(sample.path, found.root)} ({sample.group})" for sample in in_groups[0]]
        console.warn(
            f"{_in_several(len(in_groups), 'groups', files)} Scores may be too high, as a copy of a training "
            f"clip may be held out. Remove the copies, or put them into one group{listed}."
        )


def _in_several(number: int, places: str, files: list[str]) -> str:
    if number == 1:
        return f"1 clip is in several {places} (identical files): {some(files)}."
    return f"{number} clips are in several {places} (identical files), such as {some(files)}."


def _say_clips(console: Console, clips: ClipsExtracted) -> None:
    """Print the lengths and sizes of the readable clips, and the problems of the others."""
    if clips.infos:
        sizes = sorted((i.width, i.height) for i in clips.infos)
        text = "Sizes: " + from_to(*(f"{width}x{height}" for width, height in (sizes[0], sizes[-1])))
        seconds = sorted(i.seconds for i in clips.infos if i.seconds is not None)
        if seconds:
            text = f"Lengths: {lengths(seconds)}. {text}"
        console.say(text)
    if not clips.problems:
        return
    unreadable = sum(not p.usable for p in clips.problems)
    partial = len(clips.problems) - unreadable
    found = [f"{count(unreadable, 'clip')} unreadable"] if unreadable else []
    if partial:
        found.append(f"{partial if unreadable else count(partial, 'clip')} only partly readable")
    console.warn(f"{', '.join(found)}:")
    for clip in clips.problems if console.verbose else clips.problems[:_SHOWN]:
        console.warn(f"  {clip.path}: {clip.problem.code.value}: {clip.problem.message}")
    if len(clips.problems) > _SHOWN and not console.verbose:
        more = len(clips.problems) - _SHOWN
        console.warn(f"  and {more} more (--verbose names them; `vidlstm check` lists all)")


def _epoch_line(report: EpochReport) -> str:
    if report.val_top1 is None:
        return f"loss {report.train_loss:.3f}"
    return f"validation top-1 {report.val_top1:.3f}"


def resuming(data: Path, run: Path) -> str:
    """Return the command that continues a run, ready to be copied, after a few words."""
    command = shlex.join(["vidlstm", "train", str(address_of(data) or data), "--resume", str(run)])
    return f"To continue: {command}"
