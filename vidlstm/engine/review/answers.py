"""Read decisions from the review page, Label Studio or CVAT."""

from __future__ import annotations

import zipfile
from dataclasses import astuple
from pathlib import Path

from vidlstm.data.layouts.tables import read_text
from vidlstm.engine.review import cvat, label_studio
from vidlstm.engine.review.decisions import Decision, is_text, read_table, require_unique
from vidlstm.errors import DataError


def read_decisions(file: Path) -> list[Decision]:
    """Read decisions; the first character determines the format.

    Raises:
        DataError: The file cannot be read, has another format, or contradicts itself.
    """
    if zipfile.is_zipfile(file):
        found = cvat.read_answers(file)
    else:
        first = read_text(file).lstrip()[:1]
        readers = {"<": cvat.read_answers, "[": label_studio.read_answers}
        found = readers.get(first, read_table)(file)
    for d in found:
        if not all(map(is_text, astuple(d))):
            raise DataError(f"{file}: the decision about {d.path!a} holds characters that no name can have")
    return require_unique(file, found)
