"""How a setting that a message names is spelled on the command line: the only place that knows both.

Below `cli` a message names a setting in backticks, as a keyword of Python: `num_frames`,
`num_frames=0`, `overwrite=True`. Here that becomes `--frames`, `--frames 0`, `--overwrite`.
"""

from __future__ import annotations

import re
from dataclasses import fields
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
    """Return the long flag that an option declares, or the one that Typer makes of its name."""
    for info in getattr(hint, "__metadata__", ()):
        if isinstance(info, ArgumentInfo):
            return name.upper()
        # Inside `Annotated` the first declared name stands where a default would.
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
"""By the name of a setting, the flag that sets it."""


def with_flags(text: str) -> str:
    """Return a message with every setting that it names spelled as its flag."""
    return _NAMED.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    name, value = match.groups()
    flag = FLAGS.get(name)
    if flag is None:
        return match.group()
    if value in (None, "True"):
        return flag
    return f"--no-{flag[2:]}" if value == "False" else f"{flag} {value}"
