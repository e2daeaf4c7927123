"""The part of the inputs that a job reads: `--shard i/n`, or from the scheduler's variables for array jobs.

n consecutive ids have n different remainders modulo n, so a job needs only its id and n.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from vidlstm.errors import UsageError

Shard = tuple[int, int]
"""`(i, n)`, i from 1 to n."""


@dataclass(frozen=True)
class _Scheduler:
    """The environment variables of a scheduler's array jobs.

    Args:
        name: For messages.
        index: Variable that holds a job's id.
        count: Variable that holds the number of jobs.
        span: Variables that hold the first and last id, and the step between ids.
    """

    name: str
    index: str
    count: str | None = None
    span: tuple[str, str, str] | None = None


_SCHEDULERS = (
    _Scheduler(
        "Slurm",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        ("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"),
    ),
    _Scheduler("SGE", "SGE_TASK_ID", None, ("SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE")),
    _Scheduler("PBS", "PBS_ARRAY_INDEX"),
    _Scheduler("PBS", "PBS_ARRAYID"),
    _Scheduler("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    _Scheduler("Kubernetes", "JOB_COMPLETION_INDEX"),
)


def parse_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """Parse `--shard`: i/n, i from 1 to n; `auto`; or `auto/n` if the scheduler gives only the id.

    Args:
        text: The option; None: all inputs.
        environment: Environment variables.

    Raises:
        UsageError: The text has another form, or the environment lacks the values for `auto`.
    """
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(auto|\d+)(?:/(\d+))?", text, re.ASCII)
    if match is None or (match[1] != "auto" and not match[2]):
        raise UsageError(f"--shard {text}: give i/n with i from 1 to n, such as 1/8 to 8/8, or auto")
    if match[1] == "auto":
        return _find_shard(environment, None if match[2] is None else int(match[2]))
    first, step = int(match[1]), int(match[2])
    if not 1 <= first <= step:
        raise UsageError(f"--shard {text}: give i/n with i from 1 to n, such as 1/8 to 8/8, or auto")
    return first, step


def _find_shard(environment: Mapping[str, str], count: int | None) -> Shard:
    """Return the shard of this job of an array."""
    for scheduler in _SCHEDULERS:
        index = _number(environment, scheduler.index)  # SGE sets "undefined" outside array jobs
        if index is None:
            continue
        place = index
        total = _number(environment, scheduler.count)
        span = tuple(_number(environment, name) for name in scheduler.span or ())
        if span and None not in span:
            first, last, step = (number or 0 for number in span)
            place, ids = (index - first) // max(step, 1), (last - first) // max(step, 1) + 1
            total = ids if total is None else total
            if total != ids or (index - first) % max(step, 1):
                raise UsageError(
                    f"--shard auto: the ids of this {scheduler.name} array have gaps; use consecutive ids, "
                    "such as 1-8, or give --shard i/n"
                )
        if count is not None and total not in (None, count):
            raise UsageError(f"--shard auto/{count}: {scheduler.name} says that the array has {total} jobs")
        total = total or count
        if not total:
            raise UsageError(
                f"--shard auto: {scheduler.name} tells a job its id ({scheduler.index}={index}) but not how "
                "many jobs there are; add the number, such as --shard auto/8"
            )
        return place % total + 1, total
    variables = ", ".join(scheduler.index for scheduler in _SCHEDULERS)
    raise UsageError(f"--shard auto: not a job of an array, as none of {variables} is set; give --shard i/n")


def _number(environment: Mapping[str, str], name: str | None) -> int | None:
    text = environment.get(name or "", "")
    return int(text) if re.fullmatch(r"\d+", text, re.ASCII) else None
