"""Apply decisions: write a new table for tables (see `table`), move files for class folders.

Nothing is overwritten. For moves, a list of decisions that undoes them is written. Clips that had no label
and are not in the data set are added to it: as rows of the table, or as copies in the class folders.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from vidlstm.data.layouts.folders import SPAN_TABLES, Row, read_folders
from vidlstm.data.layouts.tables import TABLE_NAMES
from vidlstm.engine.review.decisions import (
    NO_CLIP,
    Applied,
    Decision,
    find_clip,
    num_held_out,
    to_table,
    with_subset,
)
from vidlstm.engine.review.table import apply_to_table
from vidlstm.errors import DataError
from vidlstm.files import kind_of, write_atomically


def table_of(data: Path) -> Path | None:
    """Return the table of a data set; None if it is class folders."""
    names = (*SPAN_TABLES, *TABLE_NAMES)
    return data if data.is_file() else next((data / name for name in names if (data / name).is_file()), None)


def apply_decisions(decisions: Sequence[Decision], data: Path, output: Path) -> Applied:
    """Apply decisions to a data set.

    Args:
        decisions: Decisions about the clips of the data set.
        data: A table, a folder with a `labels.csv` or `spans.csv`, or class folders.
        output: The new table to write; for class folders, the list of decisions that undoes the moves.

    Raises:
        DataError: The data cannot be used, or `output` exists.
    """
    if output.exists():
        raise DataError(f"{output}: already exists; name another file with `output`")
    table = table_of(data)
    if table is not None:
        return apply_to_table(decisions, table, output)
    if not data.is_dir():
        raise DataError(f"{data}: no such file or folder")
    return _apply_to_folders(decisions, data, output)


def _apply_to_folders(decisions: Sequence[Decision], root: Path, output: Path) -> Applied:
    """Move files. The list that undoes the moves is written before the first move."""
    rows = read_folders(root, None).rows
    depth = int(any(row.split for row in rows))  # of the class folders
    moves: list[tuple[Decision, Path, Path]] = []
    copies: list[tuple[Decision, Path, Path]] = []
    problems: list[str] = []
    kept = 0
    for decision in _with_labels(decisions, root, rows):
        if decision.start or decision.end:
            problems.append(f"{decision.name}: decision about a span, but {root} holds class folders")
            continue
        if decision.label == decision.decision:
            kept += 1
            continue
        source = find_clip(decision, root)
        if source is None:
            problems.append(f"{decision.path}: no such file")
        elif kind_of(source) is None:
            problems.append(f"{decision.path}: {NO_CLIP}")
        elif not _is_name(decision.decision):
            problems.append(f'{decision.path}: "{decision.decision}" cannot be the name of a class folder')
        elif (target := _target(source, root, decision, depth)) is not None:
            moves.append((decision, source, target))
        elif not decision.label:
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
    return Applied(len(done), kept, added, num_held_out(done), output if done else None, tuple(problems))


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


def _with_labels(decisions: Sequence[Decision], root: Path, rows: Sequence[Row]) -> Iterator[Decision]:
    """Fill in labels and subsets from the folders where they are not known."""
    known = {row.path.absolute(): row for row in rows}
    for decision in decisions:
        source = find_clip(decision, root)
        row = None if source is None else known.get(source.absolute())
        if row is not None:
            decision = with_subset(replace(decision, label=decision.label or row.label), row.split or "")
        yield decision


def _target(source: Path, root: Path, decision: Decision, depth: int) -> Path | None:
    """Return the new path of a clip in its new class folder; None if it is not in a class folder.

    Args:
        source: The clip.
        root: Folder of the data set.
        decision: The decision.
        depth: Number of folders between `root` and the class folders, as "train" may also be a class.
    """
    try:
        folder = source.parent.resolve().relative_to(root.resolve())  # a link is moved, not its target
    except ValueError:
        return None
    parts = list(folder.parts)
    if decision.label not in parts[depth:]:
        return None
    parts[parts.index(decision.label, depth)] = decision.decision
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
