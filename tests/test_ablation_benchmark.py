"""The ablation removes the named parts, and its table shows what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import ablation
from tests.engine.test_auto_streams import CONFIG, clips_of
from tests.engine.toys import QUICK
from vidlstm.data.splits import Fold, make_folds


def test_the_only_useful_branch_has_the_whole_gain() -> None:
    clips = clips_of(motion=0.0, pose=1.0)
    folds = make_folds(clips.dataset, 2, 0)
    hits = ablation.hits_of(CONFIG, clips, folds, QUICK, ("motion", "pose"))
    assert hits["all"].mean() > 0.9
    assert hits["motion"].mean() > 0.9
    assert hits["pose"].mean() < 0.8


def test_without_held_out_clips_branches_count_the_same() -> None:
    clips = clips_of(motion=0.5, pose=1.0)
    folds = [Fold("all", tuple(range(8, 48)), tuple(range(8)))]
    alone = replace(CONFIG, members=1)
    one_group = replace(clips.dataset, samples=tuple(replace(s, group="g") for s in clips.dataset.samples))
    hits = ablation.hits_of(alone, replace(clips, dataset=one_group), folds, QUICK, ())
    assert hits["all"][:8].mean() > 0.5


def test_parts_that_need_another_training_are_removed() -> None:
    clips = clips_of(motion=0.0, pose=1.0)
    config = replace(CONFIG, views=2, mirror=True)
    assert ablation.without("order", config, clips)[0].head.kind == "mean"
    assert ablation.without("members", config, clips)[0].members == 1
    less, sliced = ablation.without("views", config, clips)
    assert (less.views, sliced.features(0).num_views) == (1, 1)
    less, sliced = ablation.without("mirroring", config, clips)
    assert (less.mirror, len(sliced.features(0).sequences["pose"])) == (False, 1)


def test_rows_are_points_with_intervals_over_groups() -> None:
    groups = np.repeat(np.arange(8), 5)
    mean, low, high = ablation._row(np.where(groups < 4, 0.2, 0.0), groups)
    assert mean == pytest.approx(0.1)
    assert 0 <= low < mean < high <= 0.2
    measured = {"clips": 40, "groups": 8, "all": (0.9, 0.8, 1.0), "pose": (mean, 0.0, 0.2)}
    shown = ablation.table({"toy": measured})
    assert shown.splitlines()[0] == "|  | toy (40 clips, 8 groups) |"
    assert "| top-1 with all parts | 90.0 (80.0 to 100.0) |" in shown
    assert "| pose | +10.0 (+0.0 to +20.0) |" in shown
    assert "| change |  |" in shown


def test_sets_are_named_at_the_command_line() -> None:
    first, second = ablation.sets(["mine=clips/:person", "other=b.csv"])
    assert (first.name, first.data.data, first.data.group_column) == ("mine", Path("clips"), "person")
    assert (second.name, second.data.group_column) == ("other", None)
