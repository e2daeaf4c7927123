"""Apply decisions: write a new table for tables, move files for class folders.

Nothing is overwritten. For moves, a list of decisions that undoes them is written. Clips that had no label
and are not in the data set are added to it: as rows of the table, or as copies in the class folders.
"""

from __future__ import annotations

import csv
import io
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from vidlstm.data.annotations.table import is_span_table
from vidlstm.data.annotations.values import seconds_of
from vidlstm.data.layouts.folders import SUBSETS, Row, read_folders
from vidlstm.data.layouts.tables import TABLE_NAMES, read_records
from vidlstm.engine.review.decisions import Decision, to_table
from vidlstm.errors import DataError
from vidlstm.files import kind_of, write_atomically
from vidlstm.stores import address_of, is_address, path_in

_ROUNDING = 0.005 + 1e-6
"""Seconds by which times of `predictions.csv`, which have two decimals, differ from those of the table."""
_MILLISECOND = 1e-3
_NO_CLIP = "is neither a video nor a picture"


@dataclass(frozen=True)
class Applied:
    """The result of applying decisions.

    Args:
        changed: Number of clips whose label was changed.
        kept: Number of clips whose label was confirmed.
        added: Number of clips that were not in the data set.
        held_out: Number of changed clips in a validation or test set.
        written: The new table, or the list of decisions that undoes the moves; None if nothing changed.
        problems: Decisions that could not be applied, one sentence each, with the path.
    """

    changed: int
    kept: int
    added: int
    held_out: int
    written: Path | None
    problems: tuple[str, ...] = ()


def apply_decisions(decisions: Sequence[Decision], data: Path, output: Path) -> Applied:
    """Apply decisions to a data set.

    Args:
        decisions: Decisions about the clips of the data set.
        data: A table, a folder with a `labels.csv`, or class folders.
        output: The new table to write; for class folders, the list of decisions that undoes the moves.

    Raises:
        DataError: The data cannot be used, or `output` exists.
    """
    if output.exists():
        raise DataError(f"{output}: already exists; name another file with `output`")
    table = data if data.is_file() else next((data / n for n in TABLE_NAMES if (data / n).is_file()), None)
    if table is not None:
        return _apply_to_table(decisions, table, output)
    if not data.is_dir():
        raise DataError(f"{data}: no such file or folder")
    return _apply_to_folders(decisions, data, output)


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of a table. `times` is empty for a whole clip, NaN for a time that cannot be read."""

    times: tuple[float, ...]
    values: list[str]


def _apply_to_table(decisions: Sequence[Decision], table: Path, output: Path) -> Applied:
    lines = list(read_records(table))
    header = lines[0][1] if lines else []
    column = {name.strip().lower(): i for i, name in enumerate(header)}
    if not {"path", "label"} <= set(column):
        raise DataError(f"{table}: has no columns path and label")
    has_spans = is_span_table(header)
    rows: dict[str, list[_Row]] = {}  # by the place of the clip
    for line, values in lines[1:]:
        if len(values) < len(header):
            raise DataError(
                f"{table}, line {line}: has {len(values)} values where the header has {len(header)}"
            )
        name = values[column["path"]]
        if not name or "\0" in name:
            raise DataError(f"{table}, line {line}: has no usable path")
        file = path_in(table.parent, name)
        values[column["path"]] = _relative(file, name, output)
        times = _times(values[column["start"]], values[column["end"]]) if has_spans else ()
        rows.setdefault(_place(file), []).append(_Row(times, values))

    decided: dict[_Row, Decision] = {}
    added: list[list[str]] = []
    problems: list[str] = []
    for d in decisions:
        times = _times(d.start, d.end)
        if has_spans and not times:
            problems.append(f"{d.path}: decision about the whole clip, but {table} holds spans")
            continue
        source = _find(d, table.parent)
        known = rows.get(_place(source or path_in(table.parent, d.path)), [])
        found = _nearest(times, known)
        for row in found:
            if decided.setdefault(row, d).decision != d.decision:
                raise DataError(f"{d.path}: has two decisions about the same row of {table}; keep one")
        is_new = not found and not d.label and has_spans == bool(times) and not any(map(math.isnan, times))
        if is_new and source is not None and kind_of(source) is None:
            problems.append(f"{d.path}: {_NO_CLIP}")
        elif is_new and source is not None:
            facts = _facts(d, _relative(source, d.path, output), known, column)
            added.append([facts.get(name.strip().lower(), "") for name in header])
        elif not found:
            problems.append(f"{d.path}: not in {table}")

    changed: list[Decision] = []
    for row, d in decided.items():
        if row.values[column["label"]] != d.decision:
            row.values[column["label"]] = d.decision
            changed.append(_with_subset(d, row.values[column["split"]] if "split" in column else ""))
    kept = len(set(decided.values())) - len({(d.path, d.start, d.end) for d in changed})
    if not changed and not added:
        return Applied(0, kept, 0, 0, None, tuple(problems))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*(values for _, values in lines), *added])
    write_atomically(output, text.getvalue().encode("utf-8", "surrogateescape"))
    return Applied(len(changed), kept, len(added), _held_out(changed), output, tuple(problems))


def _facts(decision: Decision, path: str, known: Sequence[_Row], column: Mapping[str, int]) -> dict[str, str]:
    """Return the columns of a new row, given the other rows of the same film."""
    facts = {"path": path, "group": path, "split": "train"}
    if known:  # a film is in one group and one subset
        like = max(known, key=lambda row: len(row.times))  # preferably not a row without a span
        given = {name: like.values[column[name]] for name in facts if name in column}
        facts |= {name: value for name, value in given.items() if value or like.times}
    return {**facts, "label": decision.decision, "start": decision.start, "end": decision.end}


def _place(file: Path) -> str:
    return str(file) if address_of(file) is not None else os.path.realpath(file)


def _times(start: str, end: str) -> tuple[float, ...]:
    if not start.strip() and not end.strip():
        return ()
    return tuple(math.nan if seconds is None else seconds for seconds in map(seconds_of, (start, end)))


def _nearest(times: tuple[float, ...], rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows whose times are nearest, if they differ only by rounding; never a span for a clip."""
    near = [row for row in rows if _is_near(times, row.times)]
    gap = min((math.dist(times, row.times) for row in near), default=0.0)
    return [row for row in near if math.dist(times, row.times) <= gap + _MILLISECOND]


def _is_near(times: tuple[float, ...], others: tuple[float, ...]) -> bool:
    if len(times) != len(others):
        return False
    return all(abs(a - b) <= _ROUNDING for a, b in zip(times, others, strict=True))


def _relative(file: Path, name: str, table: Path) -> str:
    """Return the path of a file in a table in another folder; an address or absolute path stays as it is."""
    if is_address(name) or Path(name).is_absolute():
        return name
    try:
        return Path(os.path.relpath(file, table.parent)).as_posix()
    except ValueError:  # on another drive
        return str(file.absolute())


def _apply_to_folders(decisions: Sequence[Decision], root: Path, output: Path) -> Applied:
    """Move files. The list that undoes the moves is written before the first move."""
    rows = read_folders(root, None).rows
    moves: list[tuple[Decision, Path, Path]] = []
    copies: list[tuple[Decision, Path, Path]] = []
    problems: list[str] = []
    kept = 0
    for decision in _with_labels(decisions, root, rows):
        if decision.label == decision.decision:
            kept += 1
            continue
        source = _find(decision, root)
        if source is None:
            problems.append(f"{decision.path}: no such file")
        elif kind_of(source) is None:
            problems.append(f"{decision.path}: {_NO_CLIP}")
        elif not _is_name(decision.decision):
            problems.append(f'{decision.path}: "{decision.decision}" cannot be the name of a class folder')
        elif (target := _target(source, root, decision)) is not None:
            moves.append((decision, source, target))
        elif not decision.label and not decision.start:
            copies.append((decision, source, _training_folder(root, rows) / decision.decision / source.name))
        else:
            where = f'class folder "{decision.label}"' if decision.label else "class folder"
            problems.append(f"{decision.path}: not in a {where} of {root}")
    if moves:
        write_atomically(output, to_table(_undo(d, target) for d, _, target in moves))
    done = [d for d, source, target in moves if _transfer(_move, d, source, target, problems)]
    if not done:
        output.unlink(missing_ok=True)
    elif len(done) < len(moves):
        moved = set(done)
        write_atomically(output, to_table(_undo(d, target) for d, _, target in moves if d in moved))
    added = sum(_transfer(_copy, d, source, target, problems) for d, source, target in copies)
    return Applied(len(done), kept, added, _held_out(done), output if done else None, tuple(problems))


def _transfer(
    how: Callable[[Path, Path], None], decision: Decision, source: Path, target: Path, problems: list[str]
) -> bool:
    """Move or copy a clip, or add the reason why not to the problems."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        how(source, target)
    except FileExistsError:
        problems.append(f"{decision.path}: {target} already exists")
    except OSError as error:
        problems.append(f"{decision.path}: stays where it is ({error.strerror})")
    else:
        return True
    return False


def _training_folder(root: Path, rows: Sequence[Row]) -> Path:
    """Return the folder that holds the class folders of the training set."""
    train = next((row.path for row in rows if row.split == "train"), None)
    return root if train is None else root / train.relative_to(root).parts[0]


def _find(decision: Decision, root: Path) -> Path | None:
    paths = (Path(decision.path), root / decision.path)
    return next((p for p in paths if os.path.exists(p)), None)  # noqa: PTH110 - Path raises on a long name


def _with_labels(decisions: Sequence[Decision], root: Path, rows: Sequence[Row]) -> Iterator[Decision]:
    """Fill in labels and subsets from the folders where they are not known."""
    known = {row.path.absolute(): row for row in rows}
    for decision in decisions:
        source = _find(decision, root)
        row = None if source is None else known.get(source.absolute())
        if row is not None:
            decision = _with_subset(replace(decision, label=decision.label or row.label), row.split or "")
        yield decision


def _with_subset(decision: Decision, subset: str) -> Decision:
    return decision if decision.subset else replace(decision, subset=SUBSETS.get(subset.lower(), ""))


def _target(source: Path, root: Path, decision: Decision) -> Path | None:
    """Return the new path of a clip in its new class folder; None if it is not in a class folder."""
    try:
        folder = source.parent.resolve().relative_to(root.resolve())  # a link is moved, not its target
    except ValueError:
        return None
    parts = list(folder.parts)
    if decision.label not in parts:
        return None
    parts[parts.index(decision.label)] = decision.decision
    return root.joinpath(*parts, source.name)


def _is_name(label: str) -> bool:
    """Tell whether a label can be the name of a class folder, which must be visible and inside the data."""
    # The rules of Windows include those of the other systems.
    return not label.startswith(".") and PureWindowsPath(label).name == label != ""


def _move(source: Path, target: Path) -> None:
    """Move a file or a folder of frames to a free name.

    Raises:
        FileExistsError: The name is taken.
    """
    if source.is_dir():
        target.mkdir()  # a folder replaces an empty folder, and nothing else
        try:
            source.replace(target)
        except OSError:
            target.rmdir()
            raise
        return
    try:
        os.link(source, target, follow_symlinks=False)  # unlike a rename, it never replaces a file
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        source.replace(target)
        return
    try:
        source.unlink(missing_ok=True)
    except OSError:  # such as in a read-only folder
        target.unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder of frames to a free name; a file takes no space on the same drive.

    Raises:
        FileExistsError: The name is taken.
    """
    beside = target.with_name(f".{secrets.token_hex(8)}")
    try:
        if source.is_dir():
            shutil.copytree(source, beside)
        else:
            try:
                os.link(source.resolve(), beside)
            except OSError:  # another drive, or a file system without hard links
                shutil.copyfile(source, beside)
        _move(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True) if beside.is_dir() else beside.unlink(missing_ok=True)


def _undo(decision: Decision, target: Path) -> Decision:
    return Decision(str(target), decision.decision, decision.label, "", "", decision.subset)


def _held_out(decisions: Sequence[Decision]) -> int:
    return sum(d.subset in ("val", "test", "held-out") for d in decisions)
