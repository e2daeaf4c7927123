"""Group samples that belong together, so that no recording is in two subsets of a split.

A group is everything that shares a recording, a person or a scene. Groups come from, in this order: what the
user names (a column or a regular expression), the naming rules of well-known data sets, and equal content.
Every function returns one group name per sample, and a sentence that says which rule applied. Only names and
bytes are compared; near duplicates are not found here.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidlstm.data.fingerprints import fingerprint, full_hash
from vidlstm.errors import DataError, InputError, UsageError
from vidlstm.files import frames_of
from vidlstm.stores import address_of, ahead, size_of

BY_BACKGROUND = "background"
"""Special value of `group_by`: groups come from the clips' backgrounds, which are not read here."""

MATCH_SHARE = 0.5
"""A naming rule applies if it fits this share of the clips. Each other clip is its own group, as it would
be without the rule, so a rule that fits only part of the clips still helps."""

_HMDB51 = re.compile(r"(?P<group>.+)_[fluh]_[nc]m_np\d+_(?:ba|fr|le|ri)_(?:goo|med|bad)_\d+$")
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"v_(?P<group>.+_g\d+)_c\d+$"),
        'Groups are taken from the file names: the recording, as in UCF101 ("v_Class_g01_c01")',
    ),
    (_HMDB51, "Groups are taken from the file names: the source video, as in HMDB51"),
    (
        re.compile(r"(?P<group>person\d+)_.+_d\d+(?:_|$)"),
        'Groups are taken from the file names: the person, as in KTH ("person01_boxing_d1")',
    ),
    (
        re.compile(r"(?P<group>daria|denis|eli|ido|ira|lena|lyova|moshe|shahar)_"),
        'Groups are taken from the file names: the person, as in Weizmann ("daria_walk")',
    ),
)


@dataclass(frozen=True)
class Grouping:
    """A group name for every sample, and where the names come from.

    Args:
        names: One per sample.
        rule: A sentence about the origin of the names.
        known: Whether the groups are known; if not, each file is its own group.
    """

    names: tuple[str, ...]
    rule: str
    known: bool = True


def by_column(values: Sequence[str], column: str) -> Grouping:
    """Take the groups from a column of a table."""
    return Grouping(tuple(values), f'Groups come from the column "{column}".')


def by_regex(paths: Sequence[str], pattern: str) -> Grouping:
    """Take the groups from a regular expression.

    Args:
        paths: Paths of the samples, relative to the root, with slashes.
        pattern: Searched in each path; its first group, otherwise the whole match, is the name.

    Raises:
        UsageError: The pattern is not a regular expression.
        DataError: A path does not match, or the match is empty.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"`group_by={pattern}`: not a regular expression ({error})") from None
    matches = [regex.search(path) for path in paths]
    names = [(m.group(1 if regex.groups else 0) or "") if m else "" for m in matches]
    if missing := [path for path, name in zip(paths, names, strict=True) if not name]:
        others = f" and in {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{missing[0]}: `group_by={pattern}` finds no group in it{others}; it must match every clip, so "
            f"move these files elsewhere or extend it{_example(pattern, missing[0])}"
        )
    return Grouping(tuple(names), f"Groups come from `group_by={pattern}`.")


def _example(pattern: str, path: str) -> str:
    """Return how to extend a pattern so that it matches a path; numbers in its name may vary."""
    name = re.sub(r"\d+", r"\\d+", re.escape(PurePosixPath(path).stem))
    is_group = re.fullmatch(r"\([^?()][^()]*\)", pattern) is not None
    if not is_group and "(" in pattern:
        return ""
    extended = f"({pattern[1:-1]}|{name})" if is_group else f"{pattern}|{name}"
    return f", such as `group_by={shlex.quote(extended)}`"


def by_names_or_content(
    paths: Sequence[Path], labels: Sequence[str], relative: Sequence[str], *, per_class: bool = False
) -> Grouping:
    """Take the groups from file names that follow a known rule, otherwise from equal content.

    Args:
        paths: Paths of the samples.
        labels: Labels of the samples.
        relative: The paths relative to the root, with slashes; used to name groups of equal content.
        per_class: Make a separate group of an HMDB51 source for each class, because the official splits put
            one film's classes in different subsets.
    """
    stems = [path.stem for path in paths]
    best: list[str | None] = [None] * len(paths)
    sentence = ""
    for regex, words in _RULES:
        names = [_group_in(stem, label, regex, per_class) for stem, label in zip(stems, labels, strict=True)]
        if names.count(None) < best.count(None):
            best, sentence = names, words
    rest = best.count(None)
    if not sentence or rest > (1 - MATCH_SHARE) * len(paths):
        return by_content(paths, relative)
    if rest:
        sentence += f"; {rest} of {len(paths)} clips have other names, and each is its own group"
    return Grouping(tuple(name or own for name, own in zip(best, relative, strict=True)), f"{sentence}.")


def by_content(paths: Sequence[Path], relative: Sequence[str]) -> Grouping:
    """Put files of equal content into one group and every other file into its own.

    A group is named after its first file. An empty or unreadable file is its own group.
    """
    names = list(relative)
    for members in equal_files(paths):
        for index in members:
            names[index] = relative[members[0]]
    num_groups = len(set(names))
    rule = "There is no group column and no known naming scheme, so each file counts as its own group"
    if num_groups < len(names):
        num_copies = len(names) - num_groups
        copies = "1 is a copy" if num_copies == 1 else f"{num_copies} are copies"
        rule += f" (identical files share one; {copies})"
    risk = "Clips of one recording may end up in two subsets."
    return Grouping(tuple(names), f"{rule}. {risk}", known=False)


def equal_files(paths: Sequence[Path]) -> tuple[tuple[int, ...], ...]:
    """Find files of equal content.

    Returns:
        For each set of equal files, their indices, in order. Empty and unreadable files are in no set.
    """
    # Only files of equal size are opened, and only files with equal fingerprints are read completely.
    classes: list[list[int]] = [list(range(len(paths)))]
    for key_of in (_size, fingerprint, full_hash):
        classes = [part for members in classes for part in _refine(members, paths, key_of)]
    return tuple(tuple(members) for members in sorted(classes))


def _refine(
    members: list[int], paths: Sequence[Path], key_of: Callable[[Path], object]
) -> Iterable[list[int]]:
    def key_or_none(path: Path) -> object:
        try:
            return key_of(path)
        except (OSError, InputError):
            return None

    parts: defaultdict[object, list[int]] = defaultdict(list)
    for index, key in zip(members, ahead(key_or_none, [paths[i] for i in members]), strict=True):
        if key is not None:
            parts[key].append(index)
    return (part for part in parts.values() if len(part) > 1)


def _size(path: Path) -> tuple[int, ...] | None:
    """Return a file's size, or the sizes of a folder's frames; None if empty."""
    if (address := address_of(path)) is not None:
        return (known,) if (known := size_of(address)) else None
    if path.is_dir():
        return tuple(frame.stat().st_size for frame in frames_of(path)) or None
    size = path.stat().st_size
    return (size,) if size else None


def _group_in(stem: str, label: str, regex: re.Pattern[str], per_class: bool) -> str | None:
    match = regex.match(stem)
    if match is None:
        return None
    group = match["group"]
    if regex is _HMDB51:  # the class is between the source and the rest
        group = group.removesuffix(f"_{label}")
        if per_class:
            group = f"{label}/{group}"
    return group
