"""`--shard auto`: the environment variables of schedulers' array jobs, as documented in their manuals."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from vidlstm.cli.rows.shards import parse_shard
from vidlstm.errors import UsageError


def slurm(task: int, first: int = 0, last: int = 3, step: int = 1, count: int = 4) -> dict[str, str]:
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    return {
        f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, (task, first, last, step, count), strict=True)
    }


def sge(task: int | str, first: int | str = 1, last: int = 4, step: int = 1) -> dict[str, str]:
    values = {"ID": task, "FIRST": first, "LAST": last, "STEPSIZE": step}
    return {f"SGE_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("auto", slurm(0), (1, 4)),
        ("auto", slurm(3), (4, 4)),
        ("auto", slurm(5, first=5, last=8), (1, 4)),
        ("auto", slurm(30, first=10, last=40, step=10), (3, 4)),
        ("auto/4", slurm(1), (2, 4)),
        ("auto", sge(1), (1, 4)),
        ("auto", sge(7, first=1, last=7, step=2), (4, 4)),
        ("auto/8", {"PBS_ARRAY_INDEX": "3"}, (4, 8)),
        ("auto/8", {"PBS_ARRAYID": "8"}, (1, 8)),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "5"}, (1, 5)),
        ("auto/5", {"AWS_BATCH_JOB_ARRAY_INDEX": "4"}, (5, 5)),
        ("auto/16", {"JOB_COMPLETION_INDEX": "15"}, (16, 16)),
        ("2/3", {"JOB_COMPLETION_INDEX": "0"}, (2, 3)),
        (None, slurm(1), (1, 1)),
    ],
)
def test_the_shard_of_a_job(text: str | None, environment: Mapping[str, str], shard: tuple[int, int]) -> None:
    assert parse_shard(text, environment) == shard


@pytest.mark.parametrize("first", [0, 1, 5])
def test_jobs_with_consecutive_ids_cover_every_input_once(first: int) -> None:
    shards = {parse_shard("auto/6", {"PBS_ARRAY_INDEX": str(i)}) for i in range(first, first + 6)}
    assert shards == {(i, 6) for i in range(1, 7)}


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        ("auto", {}, "not a job of an array"),
        ("auto", sge("undefined", first="undefined"), "not a job of an array"),
        (
            "auto",
            {"PBS_ARRAY_INDEX": "3"},
            "not how many jobs there are; add the number",
        ),
        ("auto", {"JOB_COMPLETION_INDEX": "3"}, "Kubernetes tells a job its id"),
        ("auto", slurm(3, first=1, last=7, count=3), "have gaps"),
        ("auto/3", slurm(1), "says that the array has 4 jobs"),
        ("auto/0", {"PBS_ARRAY_INDEX": "3"}, "add the number"),
        ("automatic", {}, "give i/n"),
        ("3", {}, "give i/n"),
        ("0/3", {}, "give i/n"),
        ("4/3", {}, "give i/n"),
    ],
)
def test_variables_without_a_shard_are_an_error(text: str, environment: Mapping[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_shard(text, environment)
