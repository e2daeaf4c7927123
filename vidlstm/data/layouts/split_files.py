"""Read lists of clips: the official split files of UCF101 and HMDB51, and `path index` lists.

    trainlist01.txt             ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    testlist01.txt              ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
    classInd.txt                1 ApplyEyeMakeup
    wave_test_split1.txt        winKen_wave_u_cm_np1_ri_bad_1.avi 2     (0 unused, 1 train, 2 test)

One file is enough: the files that belong to it are found by their names. Lists with a number of frames
between path and index are supported; that number is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vidlstm.data.layouts.folders import SUBSETS, Listing, Row, Subset, count, locate
from vidlstm.data.layouts.tables import read_table, read_text
from vidlstm.errors import DataError

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})

_HMDB51 = re.compile(r"(?P<label>.+)_test_split(?P<number>\d+)\.txt$")
_UCF101 = re.compile(r"(?:train|test)list(?P<number>\d+)\.txt$")
_SIDE_WORD = re.compile(r"(?<![a-z])(?:train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?)", re.IGNORECASE)
_LINE = re.compile(r"(?P<path>.+?)(?:\s+(?:\d+\s+)?(?P<index>\d+))?\s*$")
_MAX_DIGITS = 18
_HMDB51_SUBSETS: dict[str, Subset | None] = {"0": None, "1": "train", "2": "test"}


def read_split_file(
    split_file: Path, root: Path | None, class_list: Path | None = None, group_column: str | None = None
) -> Listing:
    """Read the clips listed in a split file and in the files that belong to it.

    Args:
        split_file: A UCF101 or HMDB51 split file, a `path index` list or a table; or a folder of
            official split files, followed by the number of the split if it holds several
            (`ucfTrainTestlist/1`); or a pattern such as `splits/*_test_split1.txt`.
        root: The folder of the clips; by default the folder of the split file.
        class_list: Class names for the indices of a list: lines `index name`, or only names.
        group_column: Column of a table that holds the groups.

    Raises:
        DataError: The file does not exist, a line is invalid, or a class has no name.
    """
    split_file = _resolve(split_file)
    root = split_file.parent if root is None else root
    if split_file.suffix.lower() in TABLE_SUFFIXES:
        return read_table(split_file, root=root, group_column=group_column)
    match = _HMDB51.match(split_file.name)
    if match:
        return _read_hmdb51(split_file.parent, int(match["number"]), root)
    return _read_lists(split_file, root, class_list)


def _resolve(split_file: Path) -> Path:
    """Return the file for a path that may also be a folder, a folder and a number, or a pattern."""
    if split_file.is_file():
        return split_file
    folder, number = split_file, ""
    if not split_file.is_dir():
        folder, number = split_file.parent, "".join(re.findall(r"(\d+)(?:\.txt)?$", split_file.name))
        if not (folder.is_dir() and (split_file.name == number or "*" in split_file.name)):
            raise DataError(f"{split_file}: there is no such split file")
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        match = _HMDB51.match(file.name) or _UCF101.match(file.name)
        if match:
            found.setdefault(int(match["number"]), file)
    numbers = ", ".join(str(n) for n in sorted(found))
    if not found:
        raise DataError(
            f"{folder}: holds no split files of UCF101 (trainlist01.txt) or HMDB51 (*_test_split1.txt)"
        )
    if not number and len(found) == 1:
        return next(iter(found.values()))
    if not number or int(number) not in found:
        raise DataError(
            f"{split_file}: choose one of the splits {numbers}, such as {folder / str(min(found))}"
        )
    return found[int(number)]


def _read_hmdb51(folder: Path, number: int, root: Path) -> Listing:
    rows: list[Row] = []
    unused = 0
    for file in sorted(folder.iterdir()):
        match = _HMDB51.match(file.name)
        if not match or int(match["number"]) != number:
            continue
        label = match["label"]
        for line, text in _lines(file):
            name, _, code = text.rstrip().rpartition(" ")
            if not name or code not in _HMDB51_SUBSETS:
                raise DataError(f'{file}, line {line}: "{text}" is not a name and 0, 1 or 2')
            subset = _HMDB51_SUBSETS[code]
            if subset is None:
                unused += 1
                continue
            name = name.rstrip()
            rows.append(locate(root, (f"{label}/{name}", name), label, subset))
    notes = (
        (f"{count(unused, 'clip')} skipped, because HMDB51 split {number} does not use them",)
        if unused
        else ()
    )
    return Listing(root, tuple(rows), f"HMDB51 split {number}", notes, official=True)


def _read_lists(file: Path, root: Path, class_list: Path | None) -> Listing:
    files = _siblings(file)
    listed = [(f, subset, line, text) for f, subset in files for line, text in _lines(f)]
    parsed = [(f"{f}, line {line}", subset, _LINE.match(text)) for f, subset, line, text in listed]
    indices = {_number(m["index"], where) for where, _, m in parsed if m and m["index"]}
    if class_list is None and (file.parent / "classInd.txt").is_file():
        class_list = file.parent / "classInd.txt"
    names = {} if class_list is None else _read_class_list(class_list, indices)
    rows = []
    for where, subset, match in parsed:
        if match is None:
            raise DataError(f"{where}: has no path")
        path, index = match["path"], match["index"]
        label = _label(path, index, names, where)
        # Clips may be unpacked into one folder or into class folders.
        rows.append(locate(root, (path, PurePosixPath(path).name), label, subset))
    kind = "UCF101 split lists" if _UCF101.match(file.name) else "lists of paths"
    if len(files) == 1:
        kind = kind.replace("lists", "list")
    return Listing(root, tuple(rows), f"{kind} ({', '.join(f.name for f, _ in files)})")


def _siblings(file: Path) -> list[tuple[Path, Subset | None]]:
    """Return a list with the lists of the other subsets, whose names differ only in the subset's name."""
    match = _SIDE_WORD.search(file.name)
    if not match:
        return [(file, None)]
    found: dict[Path, Subset | None] = {}
    for word, subset in SUBSETS.items():
        sibling = file.with_name(file.name[: match.start()] + word + file.name[match.end() :])
        if match.group().lower() == word:
            found[file] = subset
        elif sibling.is_file():
            found[sibling] = subset
    return list(found.items())


def _label(path: str, index: str | None, names: dict[int, str], where: str) -> str:
    folder = PurePosixPath(path).parent.name
    if index is not None and names:
        number = _number(index, where)
        if number not in names:
            raise DataError(f"{where}: class {index} is not in the class list")
        return names[number]
    if not folder:
        raise DataError(
            f"{where}: {path} has no class folder; name the classes with `class_list`, "
            "or make it a CSV whose first line is path,label"
        )
    if names and folder not in names.values():
        raise DataError(f"{where}: class {folder} is not in the class list")
    return folder


def _read_class_list(file: Path, used: set[int]) -> dict[int, str]:
    lines = [text for _, text in _lines(file)]
    numbered = [re.match(r"(\d+)[\s,]+(.*\S)", text) for text in lines]
    matches = [m for m in numbered if m]
    if len(matches) == len(lines):
        return {_number(m[1], f"{file}"): m[2] for m in matches}
    # Names only: most lists count from 0; a list whose highest index is the number of classes counts from 1.
    start = 1 if 0 not in used and len(lines) in used else 0
    return dict(enumerate((text.strip() for text in lines), start))


def _number(digits: str, where: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise DataError(f"{where}: {digits[:_MAX_DIGITS]}... has {len(digits)} digits, too many for an index")
    return int(digits)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(read_text(file).split("\n"), 1):
        text = text.rstrip("\r")
        if text.strip():
            yield number, text
