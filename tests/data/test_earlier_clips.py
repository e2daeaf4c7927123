"""Clips that earlier weights were trained on are never held out, however the data has changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.test_splits import Rows, every_shape, persons, singles
from tests.data.trees import dataset
from vidlstm.data.earlier_clips import EarlierClips, new_groups, split_again
from vidlstm.data.samples import Dataset
from vidlstm.data.split_table import split_rows
from vidlstm.data.splits import Split, make_split
from vidlstm.errors import DataError, LeakError

RUN = Path("runs/1")


def prints(data: Dataset) -> list[str]:
    return [f"print {sample.path.name}" for sample in data.samples]


def trained_on(data: Dataset, split: Split | None = None) -> EarlierClips:
    """Return the clips of a run trained on the data."""
    return EarlierClips(RUN, split_rows(data, split or make_split(data, seed=0), prints(data)))


def again(data: Dataset, earlier: EarlierClips, seed: int = 0, **options: bool | float) -> Split:
    return split_again(data, prints(data), earlier, seed=seed, **options)  # type: ignore[arg-type]


def named(data: Dataset, indices: Sequence[int]) -> set[str]:
    return {data.samples[i].path.name for i in indices}


@every_shape
def test_the_same_data_is_split_in_the_same_way_whatever_the_seed(rows: Rows) -> None:
    data = dataset(rows)
    assert again(data, trained_on(data), seed=1) == make_split(data, seed=0)


@pytest.mark.parametrize("seed", range(4))
@every_shape
def test_grown_data_holds_out_no_group_that_was_trained_on(rows: Rows, seed: int) -> None:
    data = dataset(rows)
    old = make_split(data, seed=0)
    extra: Rows = [(label, f"new {i} of {label}", None) for label in data.classes for i in range(10)]
    more: Rows = [(label, group, None) for label, group, _ in rows[:: max(1, len(rows) // 7)]]
    grown = dataset([*rows, *extra, *more])
    split = again(grown, trained_on(data, old), seed)
    trained = {data.samples[i].group for i in old.train}
    assert not {grown.samples[i].group for i in split.val} & trained
    assert named(data, old.val) <= named(grown, split.val)  # the score stays comparable
    new = set(range(len(rows), len(rows) + len(extra)))
    assert len(new & set(split.val)) == pytest.approx(0.2 * len(new), abs=len(data.classes))
    assert sorted((*split.train, *split.val)) == list(range(len(grown.samples)))


def test_clips_are_known_by_content_and_otherwise_by_name_label_and_group() -> None:
    data = dataset(singles(10, "ab"))
    earlier, old = trained_on(data), make_split(data, seed=0)
    renamed = replace(
        data,
        samples=tuple(
            replace(s, path=s.path.with_name(f"x{i}"), group=f"{i}") for i, s in enumerate(data.samples)
        ),
    )
    assert split_again(renamed, prints(data), earlier, seed=1) == old
    assert split_again(data, ["encoded again"] * 20, earlier, seed=1) == old


def test_a_group_is_new_if_no_clip_of_it_was_trained_on() -> None:
    data = dataset(persons(5, "ab"))
    earlier, old = trained_on(data), make_split(data, seed=0)
    trained = {data.samples[i].group for i in old.train}
    assert new_groups(data, prints(data), earlier) == {data.samples[i].group for i in old.val}
    assert not new_groups(data, ["encoded again"] * len(data.samples), earlier) & trained
    grown = dataset([*persons(5, "ab"), ("a", "newcomer", None), ("b", min(trained), None)])
    assert new_groups(grown, prints(grown), earlier) - new_groups(data, prints(data), earlier) == {"newcomer"}


def test_in_other_data_all_groups_are_new_though_they_have_the_same_names() -> None:
    data = dataset(persons(5, "ab"))
    other = replace(
        data, samples=tuple(replace(s, path=s.path.with_name(f"x{i}")) for i, s in enumerate(data.samples))
    )
    assert new_groups(other, prints(other), trained_on(data)) == {s.group for s in data.samples}


def test_clips_trained_on_even_earlier_are_known_too() -> None:
    data = dataset(persons(5, "ab"))
    old = make_split(data, seed=0)
    earlier = trained_on(data, old)
    held_out = [prints(data)[i] for i in old.val]
    with pytest.raises(DataError, match=r"runs/1 was trained on these clips .* `val_share=0`"):
        again(data, EarlierClips(RUN, {}, [*earlier.learned, *held_out]))
    assert EarlierClips(RUN, earlier.rows, ["even earlier", ""]).learned == {*earlier.learned, "even earlier"}


def test_other_data_with_the_same_groups_is_split_anew() -> None:
    data = dataset(persons(5, "ab"))
    other = replace(
        data, samples=tuple(replace(s, path=s.path.with_name(f"other {s.path.name}")) for s in data.samples)
    )
    assert again(other, trained_on(data), seed=3) == make_split(other, seed=3)


def test_a_group_whose_trained_clips_are_gone_is_not_held_out() -> None:
    data = dataset(persons(10, "ab"))
    old = make_split(data, seed=0)
    gone = data.samples[old.train[0]].group
    kept = [s for s in data.samples if s.group != gone]
    new = [replace(s, path=s.path.with_name(f"new {s.path.name}")) for s in data.samples if s.group == gone]
    changed = replace(data, samples=(*kept, *new))
    for seed in range(10):
        assert gone not in {changed.samples[i].group for i in again(changed, trained_on(data, old), seed).val}


def test_nothing_is_held_out_on_request() -> None:
    data = dataset(persons(5, "ab"))
    assert again(data, trained_on(data), val_share=0.0).val == ()


@pytest.mark.parametrize("subset", ["val", "test"])
def test_a_given_split_that_holds_out_trained_clips_is_refused(subset: str) -> None:
    data = dataset(persons(5, "ab"))
    old = make_split(data, seed=0)
    wrong = data.samples[old.train[0]].group
    given = replace(
        data,
        samples=tuple(replace(s, split=subset if s.group == wrong else "train") for s in data.samples),  # type: ignore[arg-type]
    )
    says = r"runs/1 was trained on 2 clips that would be held out \(0000\d\.mp4, 0000\d\.mp4\)"
    with pytest.raises(LeakError, match=rf"{says}; scores would be too high\. .*`allow_shared_groups=True`"):
        again(given, trained_on(data, old))
    split = again(given, trained_on(data, old), allow_shared_groups=True)
    assert "accepted on request, so scores may be too high" in split.notes[0]
    kept = replace(given, samples=tuple(replace(s, split="train") for s in data.samples))
    assert again(kept, trained_on(data, old)) == old  # what it does not give is drawn


def test_validation_clips_drawn_from_a_given_train_subset_are_not_trained_clips_either() -> None:
    rows: Rows = [(c, g, "test" if g == "person09" else "train") for c, g, _ in persons(10, "ab")]
    data = dataset(rows)
    earlier = trained_on(data, make_split(data, seed=0, val_share=0.2))
    assert again(data, earlier, seed=5, val_share=0.2) == make_split(data, seed=0, val_share=0.2)
