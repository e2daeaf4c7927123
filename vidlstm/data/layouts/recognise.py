"""Recognise the layout of a data set of clips, and read it."""

from __future__ import annotations

from pathlib import Path

from vidlstm.config import Kind
from vidlstm.data.layouts.folders import WANTED, Listing, read_folders
from vidlstm.data.layouts.split_files import TABLE_SUFFIXES, read_split_file
from vidlstm.data.layouts.stores import read_store_folders
from vidlstm.data.layouts.tables import TABLE_NAMES, read_table
from vidlstm.errors import DataError, UsageError
from vidlstm.files import kind_of, suffix_kind
from vidlstm.stores import address_of, has_file, require_store


def require_data(data: Path) -> None:
    """Check that a data set exists, or that its address can be used.

    Raises:
        DataError: There is no such file or folder.
        UsageError: An address contains a password, or the package for the store is not installed.
    """
    if (address := address_of(data)) is not None:
        require_store(address)
    elif not data.exists():
        raise DataError(f"{data}: there is no such file or folder")


def root_of(data: Path) -> Path:
    """Return the folder that the names of a data set's samples are relative to."""
    if address_of(data) is not None:
        return data.parent if data.suffix.lower() in TABLE_SUFFIXES else data
    return data if data.is_dir() else data.parent


def read_listing(
    data: Path, kind: Kind | None, group_column: str | None, split_file: Path | None, class_list: Path | None
) -> Listing:
    """Read a data set of clips, in the layout that its name and content show; see `find_samples`.

    Raises:
        DataError: The data cannot be used.
        UsageError: An option does not fit the layout.
    """
    require_data(data)
    if address_of(data) is not None:
        return _read_store(data, kind, group_column, split_file)
    if split_file is not None:
        if not data.is_dir():
            raise DataError(f"{data}: with `split_file`, `data` is the folder of the clips")
        return read_split_file(split_file, data, class_list, group_column)
    if data.is_dir():
        for name in TABLE_NAMES:
            if (data / name).is_file():
                return read_table(data / name, group_column=group_column)
        return read_folders(data, kind)
    if kind_of(data) is not None:
        raise DataError(f"{data}: is one {kind_of(data)}, not a data set; {WANTED}")
    if not data.is_file():
        raise DataError(f"{data}: is a device, a pipe or a socket; {WANTED}")
    if data.suffix.lower() == ".txt":
        return read_split_file(data, None, class_list)
    return read_table(data, group_column=group_column)


def _read_store(data: Path, kind: Kind | None, group_column: str | None, split_file: Path | None) -> Listing:
    if split_file is not None:
        raise UsageError(f"`split_file`: the clips of {data} are in a store; use a table with a split column")
    if data.suffix.lower() in TABLE_SUFFIXES:
        return read_table(data, group_column=group_column)
    if suffix_kind(data.name) is not None or data.suffix.lower() in (".txt", ".eaf", ".json"):
        raise DataError(f"{data}: a data set in a store is a folder of class folders, or a CSV or TSV")
    for name in TABLE_NAMES:
        if has_file(str(data / name)):
            return read_table(data / name, group_column=group_column)
    return read_store_folders(data, kind)
