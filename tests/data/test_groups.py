import re
import shlex
from pathlib import Path

import pytest

from tests.data.trees import plant
from vidlstm.cli.flags import with_flags
from vidlstm.data.groups import Grouping, by_content, by_names_or_content, by_regex, equal_files
from vidlstm.errors import DataError, UsageError


def by_names(*names: str, per_class: bool = False) -> Grouping:
    paths = [Path("/nowhere") / name for name in names]
    return by_names_or_content(paths, [p.parent.name for p in paths], names, per_class=per_class)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("HandstandPushups/v_HandStandPushups_g01_c01.avi", "HandStandPushups_g01"),
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09"),
        ("chew/#2_Gum_chew_h_nm_np1_fr_med_1.avi", "#2_Gum"),
        ("climb/A_solo_climb_(Alps)_climb_f_cm_np1_ba_med_0.avi", "A_solo_climb_(Alps)"),
        ("wave/_I_ll_Just_Wave_My_Hand__wave_u_cm_np1_fr_med_0.avi", "_I_ll_Just_Wave_My_Hand_"),
        ("boxing/person01_boxing_d1_uncomp.avi", "person01"),
        ("sit_down/person07_sit_down_d1.mp4", "person07"),
        ("walk/daria_walk.avi", "daria"),
        ("walk/lena_walk1.avi", "lena"),
    ],
)  # fmt: skip
def test_names_of_well_known_data_sets_give_the_group(name: str, group: str) -> None:
    assert by_names(name).names == (group,)


def test_a_film_is_one_group_across_classes() -> None:
    clips = ("run/Crash_run_f_nm_np1_ba_med_1.avi", "hug/Crash_hug_f_nm_np1_ba_med_2.avi")
    assert by_names(*clips).names == ("Crash", "Crash")


def test_the_official_hmdb51_splits_keep_films_apart_within_a_class_only() -> None:
    clips = ("run/Crash_run_f_nm_np1_ba_med_1.avi", "hug/Crash_hug_f_nm_np1_ba_med_2.avi")
    assert by_names(*clips, per_class=True).names == ("run/Crash", "hug/Crash")


def test_a_rule_that_fits_most_clips_is_used_and_the_rest_are_groups_of_one() -> None:
    grouping = by_names("a/person01_a_d1.mp4", "a/person01_a_d2.mp4", "b/person02_b_d1.mp4", "b/mine.mp4")
    assert grouping.names == ("person01", "person01", "person02", "b/mine.mp4")
    assert "KTH" in grouping.rule
    assert "1 of 4" in grouping.rule


def test_a_rule_that_fits_few_clips_is_not_used() -> None:
    assert by_names("a/ido_1.mp4", "a/2.mp4", "b/3.mp4").names == ("a/ido_1.mp4", "a/2.mp4", "b/3.mp4")


class TestRegex:
    paths = ("hug/anna-1.mp4", "run/ben-2.mp4")

    @pytest.mark.parametrize("pattern", [r"/(\w+)-", r"(?<=/)\w+(?=-)"])
    def test_the_first_group_or_the_whole_match_is_the_name(self, pattern: str) -> None:
        grouping = by_regex(self.paths, pattern)
        assert grouping.names == ("anna", "ben")
        assert pattern in grouping.rule

    def test_every_clip_must_match(self) -> None:
        with pytest.raises(DataError, match=r"run/ben-2\.mp4"):
            by_regex(self.paths, "anna")

    def test_an_empty_name_is_refused(self) -> None:
        with pytest.raises(DataError, match="no group"):
            by_regex(self.paths, "(x?)")

    def test_it_must_be_a_regular_expression(self) -> None:
        with pytest.raises(UsageError, match="not a regular expression"):
            by_regex(self.paths, "(")


class TestContent:
    def test_copies_share_a_group_and_every_other_file_is_its_own(self, tmp_path: Path) -> None:
        names = ["a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4"]
        for name, content in zip(names, (b"one", b"two", b"one", b"three"), strict=True):
            plant(tmp_path, [name], content)
        grouping = by_content([tmp_path / name for name in names], names)
        assert grouping.names == ("a/1.mp4", "a/2.mp4", "a/1.mp4", "b/4.mp4")
        assert "1 is a copy" in grouping.rule

    def test_empty_and_missing_files_are_never_equal(self, tmp_path: Path) -> None:
        plant(tmp_path, ["1.mp4", "2.mp4"])
        assert equal_files([tmp_path / name for name in ("1.mp4", "2.mp4", "3.mp4", "4.mp4")]) == ()

    def test_equal_fingerprints_are_confirmed_by_the_whole_content(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vidlstm.data.groups.fingerprint", lambda path: "same")
        for name, content in {"1": b"aaa", "2": b"bbb", "3": b"aaa"}.items():
            plant(tmp_path, [name], content)
        assert equal_files([tmp_path / name for name in "123"]) == ((0, 2),)

    def test_folders_of_frames_can_be_copies(self, tmp_path: Path) -> None:
        for folder in ("a", "b", "c"):
            plant(tmp_path, [f"{folder}/1.jpg"], b"x")
            plant(tmp_path, [f"{folder}/2.jpg"], b"z" if folder == "c" else b"y")
        assert equal_files([tmp_path / name for name in "abc"]) == ((0, 1),)


@pytest.mark.parametrize(
    ("pattern", "extended"),
    [
        (r"(seq\d+)", r" or extend it, such as `group_by='(seq\d+|take\d+\ \(b\))'`"),
        (r"seq\d+", r" or extend it, such as `group_by='seq\d+|take\d+\ \(b\)'`"),
        (r"(seq)\d+", " or extend it"),
    ],
)
def test_a_pattern_is_extended_by_an_example_that_matches(pattern: str, extended: str) -> None:
    paths = ["wave/seq01.mp4", "wave/take3 (b).mp4"]
    with pytest.raises(DataError) as refused:
        by_regex(paths, pattern)
    assert str(refused.value).endswith(extended)
    if found := re.search("such as (.*)", with_flags(str(refused.value))):
        flag, value = shlex.split(found[1])  # as a shell reads it
        assert flag == "--group-by"
        assert by_regex(paths, value).names == ("seq01", "take3 (b)")
