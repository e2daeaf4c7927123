import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.trees import dataset, plant
from vidlstm.data.films import BACKGROUND, FilmTruth
from vidlstm.data.layouts.folders import Subset
from vidlstm.data.leaks import find_leaks
from vidlstm.data.samples import Dataset, find_samples
from vidlstm.data.splits import (
    Split,
    given_fold,
    make_folds,
    make_split,
)
from vidlstm.errors import DataError, LeakError, UsageError

Rows = list[tuple[str, str, Subset | None]]


def persons(num_persons: int, classes: Sequence[str], takes: int = 1) -> Rows:
    """Every person performs every class."""
    return [(c, f"person{p:02}", None) for c in classes for p in range(num_persons) for _ in range(takes)]


def recordings(num_groups: int, size: int, classes: Sequence[str]) -> Rows:
    """Every group has clips of one class only."""
    return [(c, f"{c}_g{g:02}", None) for c in classes for g in range(num_groups) for _ in range(size)]


def singles(num: int, classes: Sequence[str]) -> Rows:
    """Every clip is its own group."""
    return [(c, f"{c}/{i}", None) for c in classes for i in range(num)]


def ragged(seed: int) -> Rows:
    """Groups of any size, over any classes; each class has at least two groups."""
    rng = random.Random(seed)
    rows: Rows = [(c, f"own {c} {i}", None) for c in "abcd" for i in range(2)]
    for g in range(rng.randint(4, 30)):
        own = rng.sample("abcd", rng.randint(1, 4))
        rows += [(rng.choice(own), f"g{g}", None) for _ in range(rng.randint(1, 12))]
    return rows


SHAPES = {
    "persons": persons(12, "abcdef"),
    "persons with takes": persons(25, "abcdef", 4),
    "recordings": recordings(25, 5, "abcdefgh"),
    "singles": singles(40, "abcde"),
    "few singles": singles(2, "abcde"),
    "unbalanced": singles(100, "a") + singles(3, "b"),
    **{f"ragged {seed}": ragged(seed) for seed in range(8)},
}

every_shape = pytest.mark.parametrize("rows", SHAPES.values(), ids=SHAPES.keys())


def groups_of(data: Dataset, indices: Sequence[int]) -> set[str]:
    return {data.samples[i].group for i in indices}


def labels_of(data: Dataset, indices: Sequence[int]) -> Counter[str]:
    return Counter(data.samples[i].label for i in indices)


class TestSplit:
    @every_shape
    @pytest.mark.parametrize("seed", range(3))
    def test_no_group_is_split_and_every_class_is_trained(self, rows: Rows, seed: int) -> None:
        data = dataset(rows)
        split = make_split(data, seed=seed)
        assert sorted(split.train + split.val) == list(range(len(rows)))
        assert split.test == ()
        assert not groups_of(data, split.train) & groups_of(data, split.val)
        assert set(labels_of(data, split.train)) == set(data.classes) == set(labels_of(data, split.val))
        assert split.notes == ()

    @every_shape
    def test_the_same_seed_gives_the_same_split_in_any_order_of_files(self, rows: Rows) -> None:
        data = dataset(rows)
        split = make_split(data, seed=3)
        assert split == make_split(data, seed=3)
        backwards = make_split(dataset(rows[::-1]), seed=3)
        side = {data.samples[i].group for i in split.val}
        assert {rows[::-1][i][1] for i in backwards.val} == side

    @pytest.mark.parametrize("shape", ["persons", "recordings", "singles"])
    def test_another_seed_gives_another_split(self, shape: str) -> None:
        data = dataset(SHAPES[shape])
        assert len({make_split(data, seed=seed).val for seed in range(4)}) == 4

    @pytest.mark.parametrize(
        ("rows", "share", "counts"),
        [
            (singles(10, "abc"), 0.2, {"a": 2, "b": 2, "c": 2}),
            (singles(10, "abc"), 0.5, {"a": 5, "b": 5, "c": 5}),
            (singles(100, "a") + singles(5, "b"), 0.2, {"a": 20, "b": 1}),
            (singles(2, "ab"), 0.2, {"a": 1, "b": 1}),
            (persons(20, "abc"), 0.2, {"a": 4, "b": 4, "c": 4}),
            (recordings(25, 4, "ab"), 0.2, {"a": 20, "b": 20}),
        ],
    )
    def test_the_share_is_met_in_every_class_if_possible(
        self, rows: Rows, share: float, counts: dict[str, int]
    ) -> None:
        for seed in range(5):
            data = dataset(rows)
            assert labels_of(data, make_split(data, seed=seed, val_share=share).val) == counts

    def test_otherwise_the_share_is_approximate(self) -> None:
        for seed in range(8):
            data = dataset(ragged(seed))
            split = make_split(data, seed=0)
            assert len(split.val) / len(data.samples) == pytest.approx(0.2, abs=0.1)

    def test_no_held_out_set_if_none_is_wanted(self) -> None:
        split = make_split(dataset(singles(4, "ab")), seed=0, val_share=0)
        assert (len(split.train), split.val, split.test) == (8, (), ())

    def test_a_class_of_one_group_is_trained_with_a_note(self) -> None:
        data = dataset(singles(5, "ab") + recordings(1, 6, "c"))
        split = make_split(data, seed=0)
        assert labels_of(data, split.train)["c"] == 6
        assert split.notes == ('Class "c" occurs in one group only, so it cannot be validated.',)

    def test_several_such_classes_share_a_note(self) -> None:
        data = dataset(singles(5, "a") + recordings(1, 6, "vwxyz"))
        (note,) = make_split(data, seed=0).notes
        assert note == (
            'Classes "v", "w", "x" and 2 more occur in one group only, so they cannot be validated.'
        )

    @pytest.mark.parametrize("rows", [persons(1, "abc", 9), recordings(1, 9, "abc")])
    def test_nothing_can_be_held_out_when_each_class_is_one_group(self, rows: Rows) -> None:
        with pytest.raises(DataError, match="no group can be held out"):
            make_split(dataset(rows), seed=0)

    def test_for_films_the_way_out_is_another_film(self) -> None:
        films = (FilmTruth(Path("a.mp4"), 9, ()), FilmTruth(Path("b.mp4"), 9, ()))
        data = replace(dataset(recordings(1, 3, ["a", "b", BACKGROUND])), films=films)
        with pytest.raises(DataError, match=r'Annotate another film that shows "a", "b"$'):
            make_split(data, seed=0)
        with pytest.raises(
            DataError, match=r"only one group.*; annotate another film that shows it, or leave"
        ):
            make_folds(data, "group", seed=0)

    @pytest.mark.parametrize("share", [1.0, 2.0, -0.1, float("nan")])
    def test_the_share_must_leave_training_clips(self, share: float) -> None:
        with pytest.raises(UsageError, match=r"`val_share=.*`: must be at least 0 and below 1"):
            make_split(dataset(singles(4, "ab")), seed=0, val_share=share)


def given(sides: dict[Subset, Rows]) -> Dataset:
    return dataset([(label, group, side) for side, rows in sides.items() for label, group, _ in rows])


class TestGivenSubsets:
    def test_a_given_test_set_stays_and_validation_is_taken_from_training(self) -> None:
        data = given({"train": persons(10, "ab"), "test": [("a", "x", None), ("b", "y", None)]})
        split = make_split(data, seed=0, val_share=0.2)
        assert (len(split.train), len(split.val), split.test) == (16, 4, (20, 21))
        assert not groups_of(data, split.train) & groups_of(data, split.val)

    def test_with_a_given_test_set_nothing_more_is_held_out(self) -> None:
        data = given({"train": persons(10, "ab"), "test": [("a", "x", None), ("b", "y", None)]})
        assert make_split(data, seed=0).val == ()

    def test_given_subsets_stay_as_they_are(self) -> None:
        data = given({"train": singles(5, "ab"), "val": [("a", "x", None), ("b", "y", None)]})
        split = make_split(data, seed=0)
        assert split == Split(tuple(range(10)), (10, 11))

    def test_a_class_missing_from_a_given_subset_is_named(self) -> None:
        data = given({"train": singles(5, "ab"), "test": [("a", "x", None)]})
        assert make_split(data, seed=0).notes == ('Class "b" is not in the test subset.',)

    def test_every_class_needs_training_clips(self) -> None:
        data = given({"train": singles(5, "ab"), "test": [("c", "x", None)]})
        with pytest.raises(DataError, match='no clip of "c" in the train subset'):
            make_split(data, seed=0)

    def test_a_group_in_two_subsets_is_refused_and_named(self) -> None:
        data = given({"train": persons(8, "ab"), "test": persons(7, "ab")})
        with pytest.raises(LeakError) as caught:
            make_split(data, seed=0)
        message = str(caught.value)
        assert "7 groups are in several subsets" in message
        assert "person00 (2 test, 2 train)" in message
        assert "person05" not in message
        assert "and 2 more" in message
        assert "`allow_shared_groups=True`" in message

    def test_crossvalidation_on_the_given_test_set_refuses_it_too(self) -> None:
        data = dataset([("a", "g1", "train"), ("a", "g2", "test"), ("b", "g3", "train"), ("b", "g1", "test")])
        with pytest.raises(LeakError, match=r"g1 \(1 test, 1 train\); .* or use numbered folds"):
            given_fold(data)
        inner: Rows = [("a", "g1", "train"), ("a", "g1", "val"), ("b", "g3", "train"), ("b", "g4", "test")]
        assert given_fold(dataset(inner)).test_indices == (3,)  # both are trained on

    def test_a_group_in_two_subsets_can_be_accepted(self) -> None:
        data = given({"train": persons(8, "ab"), "test": persons(1, "ab")})
        split = make_split(data, seed=0, allow_shared_groups=True)
        assert len(split.test) == 2
        assert "1 group is in several subsets" in split.notes[0]

    def test_leaks_are_counted_by_subset(self) -> None:
        data = given({"train": persons(2, "ab"), "val": persons(1, "ab"), "test": [("a", "z", None)]})
        (leak,) = find_leaks(data)
        assert (leak.group, leak.num_samples) == ("person00", {"train": 2, "val": 2})
        assert find_leaks(dataset(persons(2, "ab"))) == ()

    def test_samples_without_a_subset_are_trained_on(self) -> None:
        data = dataset([("a", "g", "test"), ("a", "g", None), ("a", "h", None)])
        (leak,) = find_leaks(data)
        assert (leak.group, leak.num_samples) == ("g", {"test": 1, "train": 1})
        with pytest.raises(LeakError, match=r"g \(1 test, 1 train\)"):
            given_fold(data)

    def test_a_file_copied_from_training_to_test_is_a_leak(self, tmp_path: Path) -> None:
        for name in ("train/a/1", "train/b/2", "test/a/3", "test/b/4"):
            plant(tmp_path, [f"{name}.mp4"], name[-1].replace("4", "1").encode())
        with pytest.raises(LeakError, match=r"train/a/1\.mp4"):
            make_split(find_samples(tmp_path), seed=0)


class TestFolds:
    @every_shape
    @pytest.mark.parametrize("num_folds", [2, 5])
    def test_every_clip_is_held_out_once_and_no_group_is_split(self, rows: Rows, num_folds: int) -> None:
        data = dataset(rows)
        folds = make_folds(data, num_folds, seed=1)
        assert sorted(i for fold in folds for i in fold.test_indices) == list(range(len(rows)))
        for fold in folds:
            assert fold.test_indices
            assert sorted(fold.train_indices + fold.test_indices) == list(range(len(rows)))
            assert not groups_of(data, fold.train_indices) & groups_of(data, fold.test_indices)
            assert set(labels_of(data, fold.train_indices)) == set(data.classes)
        assert folds == make_folds(data, num_folds, seed=1)

    def test_folds_are_stratified(self) -> None:
        data = dataset(singles(10, "abc") + persons(20, "abc"))
        for fold in make_folds(data, 5, seed=0):
            assert labels_of(data, fold.test_indices) == {"a": 6, "b": 6, "c": 6}

    def test_small_classes_are_spread_over_all_folds(self) -> None:
        data = dataset(singles(3, "abcdefghij"))
        assert [len(fold.test_indices) for fold in make_folds(data, 5, seed=0)] == [6] * 5

    def test_one_fold_a_group(self) -> None:
        data = dataset(persons(20, "abc"))
        folds = make_folds(data, "group", seed=0)
        assert [fold.held_out_name for fold in folds] == sorted({s.group for s in data.samples})
        assert all(groups_of(data, fold.test_indices) == {fold.held_out_name} for fold in folds)
        assert folds == make_folds(data, "group", seed=9)

    def test_too_few_groups_or_folds(self) -> None:
        data = dataset(persons(3, "ab"))
        with pytest.raises(UsageError, match="`folds=5`: needs at least 5 groups, but the data has 3"):
            make_folds(data, 5, seed=0)
        with pytest.raises(UsageError, match="must be at least 2"):
            make_folds(data, 1, seed=0)
        with pytest.raises(UsageError, match="needs at least 2 groups, but the data has 1"):
            make_folds(dataset(persons(1, "ab")), "group", seed=0)

    @pytest.mark.parametrize("folds", [2, "group"])
    def test_a_class_of_one_group_cannot_be_both_trained_and_tested(self, folds: int) -> None:
        with pytest.raises(DataError, match='"c" has only one group'):
            make_folds(dataset(singles(5, "ab") + recordings(1, 6, "c")), folds, seed=0)
