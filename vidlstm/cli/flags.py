"""Translate the settings named in messages into flags.

Below `cli` a message names a setting in backticks, as a Python keyword: `num_frames`, `num_frames=0`,
`overwrite=True`. This module turns it into the flag: `--frames`, `--frames 0`, `--overwrite`.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from typer.models import ArgumentInfo

from vidlstm.cli import options

_GROUPS: tuple[Any, ...] = (
    options.DataOptions,
    options.SplitOptions,
    options.ModelOptions,
    options.TrainingOptions,
    options.FineTuneOptions,
    options.ClusterOptions,
    options.OutputOptions,
)
_NAMED = re.compile(r"`([a-z][a-z_]*)(?:=([^`]*))?`")


def _declared(name: str, hint: Any) -> str:
    """Return the long flag that an option declares, or the one that Typer derives from its name."""
    for info in getattr(hint, "__metadata__", ()):
        if isinstance(info, ArgumentInfo):
            return name.upper()
        # Inside `Annotated`, Typer keeps the first declared name in `default`.
        for declared in (info.default, *(info.param_decls or ())):
            if isinstance(declared, str) and declared.startswith("--"):
                return declared.partition("/")[0]
    return f"--{name.replace('_', '-')}"


FLAGS: dict[str, str] = {
    **{
        field.name: _declared(field.name, get_type_hints(group, include_extras=True)[field.name])
        for group in _GROUPS
        for field in fields(group)
    },
    "checkpoint": "--checkpoint",
    "cache": "--cache",
    "subset": "--split",
    "page": "--report",
    "folds": "--folds",
    "ablation": "--ablation",
    "repeat": "--repeat",
    "top_k": "--top-k",
    "min_score": "--min-score",
    "novelty_rate": "--novelty-rate",
    "output": "--output",
    "root": "--root",
    "format": "--format",
    "realtime": "--realtime",
    "exec": "--exec",
    "show": "--show",
}
"""The flag of each setting."""


def given_flags(group: Any) -> list[str]:
    """Return the arguments of the command line that give a group of options its settings, where not default.

    The data set itself, which has no default, is left out.
    """
    arguments = []
    for field in fields(group):
        value = getattr(group, field.name)
        if field.default is MISSING or value == field.default or field.name not in FLAGS:
            continue
        flag = FLAGS[field.name]
        if isinstance(value, bool):
            arguments.append(flag if value else f"--no-{flag[2:]}")
        else:
            text = str(value)
            arguments += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return arguments


def with_flags(text: str) -> str:
    """Replace every setting named in a message by its flag."""
    return _NAMED.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    name, value = match.groups()
    flag = FLAGS.get(name)
    if flag is None:
        return match.group()
    if value in (None, "True"):
        return flag
    return f"--no-{flag[2:]}" if value == "False" else f"{flag} {value}"
