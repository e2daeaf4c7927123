"""Apply decisions: write a new table for tables, move files for class folders.

Nothing is overwritten. For moves, a list of decisions that undoes them is written.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidlstm.data.layouts.folders import read_folders
from vidlstm.data.layouts.tables import TABLE_NAMES, read_records
from vidlstm.engine.review.decisions import Decision, to_table
from vidlstm.errors import DataError
from vidlstm.files import write_atomically


@dataclass(frozen=True)
class Applied:
    """The result of applying decisions.

    Args:
        changed: Number of clips whose label was changed.
        kept: Number of clips whose label was confirmed.
        held_out: Number of changed clips in a validation or test set.
        written: The new table, or the list of decisions that undoes the moves; None if nothing changed.
        problems: Decisions that could not be applied, one sentence each, with the path.
    """

    changed: int
    kept: int
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


def _apply_to_table(decisions: Sequence[Decision], table: Path, output: Path) -> Applied:
    lines = [values for _, values in read_records(table)]
    if not lines:
        raise DataError(f"{table}: is empty")
    column = {name.strip().lower(): i for i, name in enumerate(lines[0])}
    if not {"path", "label"} <= set(column):
        raise DataError(f"{table}: has no columns path and label")
    wanted = {_key(table.parent, d.path, d.start, d.end): d for d in decisions}
    changed: list[Decision] = []
    kept = 0
    for values in lines[1:]:
        start, end = (values[column[n]] if n in column else "" for n in ("start", "end"))
        decision = wanted.pop(_key(table.parent, values[column["path"]], start, end), None)
        if decision is None:
            continue
        if values[column["label"]] == decision.decision:
            kept += 1
        else:
            values[column["label"]] = decision.decision
            changed.append(decision)
    problems = tuple(f"{d.path}: not in {table}" for d in wanted.values())
    if not changed:
        return Applied(0, kept, 0, None, problems)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(output, text.getvalue().encode("utf-8", "surrogateescape"))
    return Applied(len(changed), kept, _held_out(changed), output, problems)


def _apply_to_folders(decisions: Sequence[Decision], root: Path, output: Path) -> Applied:
    """Move files. The list that undoes the moves is written before the first move."""
    moves: list[tuple[Decision, Path, Path]] = []
    problems: list[str] = []
    kept = 0
    for decision in _with_labels(decisions, root):
        if decision.label == decision.decision:
            kept += 1
            continue
        source = _find(decision, root)
        target = None if source is None else _target(source, root, decision)
        if source is None:
            problems.append(f"{decision.path}: no such file")
        elif target is None:
            where = f'class folder "{decision.label}"' if decision.label else "class folder"
            problems.append(f"{decision.path}: not in a {where} of {root}")
        else:
            moves.append((decision, source, target))
    done: list[Decision] = []
    if moves:
        write_atomically(output, to_table(_undo(d, target) for d, _, target in moves))
    for decision, source, target in moves:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(source, target)
        except FileExistsError:
            problems.append(f"{decision.path}: {target} already exists")
        except OSError as error:
            problems.append(f"{decision.path}: not moved ({error.strerror})")
        else:
            done.append(decision)
    if not done:
        output.unlink(missing_ok=True)
    elif len(done) < len(moves):
        moved = set(done)
        write_atomically(output, to_table(_undo(d, target) for d, _, target in moves if d in moved))
    return Applied(len(done), kept, _held_out(done), output if done else None, tuple(problems))


def _find(decision: Decision, root: Path) -> Path | None:
    return next((p for p in (Path(decision.path), root / decision.path) if p.exists()), None)


def _with_labels(decisions: Sequence[Decision], root: Path) -> Iterator[Decision]:
    """Fill in labels and subsets from the folders where they are not known."""
    rows = {}
    if not all(decision.label for decision in decisions):
        rows = {row.path.absolute(): row for row in read_folders(root, None).rows}
    for decision in decisions:
        source = None if decision.label else _find(decision, root)
        row = None if source is None else rows.get(source.absolute())
        yield decision if row is None else replace(decision, label=row.label, subset=row.split or "")


def _target(source: Path, root: Path, decision: Decision) -> Path | None:
    """Return the new path of a clip in its new class folder; None if it is not in a class folder."""
    try:
        folder = source.parent.resolve().relative_to(root.resolve())  # a link is moved, not its target
    except ValueError:
        return None
    parts = list(folder.parts)
    if decision.label not in parts:
        return None
    at = parts.index(decision.label)
    name = decision.decision
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        return None
    parts[at] = name
    return root.joinpath(*parts, source.name)


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
        source.unlink()
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        source.replace(target)


def _undo(decision: Decision, target: Path) -> Decision:
    return Decision(str(target), decision.decision, decision.label, "", "", decision.subset)


def _held_out(decisions: Sequence[Decision]) -> int:
    return sum(d.subset in ("val", "test", "held-out") for d in decisions)


def _key(root: Path, path: str, start: str, end: str) -> tuple[str, float | str, float | str]:
    absolute = Path(path) if Path(path).is_absolute() or Path(path).exists() else root / path
    return str(absolute.resolve()), _seconds(start), _seconds(end)


def _seconds(text: str) -> float | str:
    try:
        return round(float(text), 3)
    except ValueError:
        return ""
