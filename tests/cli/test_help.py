"""Commands that answer at once: help, version, completion, a mistyped option. None imports torch or cv2."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import vidlstm
from tests.cli.shell import Ended, shell
from vidlstm.cli import main
from vidlstm.cli.commands import predict

COMMANDS = list(main.COMMANDS)
OFF_UNLESS_GIVEN = (
    {"--exec", "--record"}
    | {"--split-file", "--class-list", "--from", "--resume", "--output", "--move-to"}
    | {
        "--link-to",
        "--shard",
        "--report",
    }
)
"""Options that do nothing by default."""
HEAVY = ("torch", "torchvision", "cv2", "sklearn", "matplotlib", "safetensors", "numpy")


def loaded(arguments: list[str], cwd: Path) -> tuple[Ended, set[str]]:
    """Run a command in a fresh Python; return how it ended and which heavy modules it imported."""
    script = f"""
import atexit, sys
sys.argv = ["vidlstm", *{arguments!r}]
from vidlstm.cli.main import main
atexit.register(lambda: print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules]))
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    *said, last = done.stdout.splitlines()
    assert last.startswith("loaded:"), done.stderr
    return Ended(done.returncode, "\n".join(said), done.stderr), set(last.split()[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_overview_repeats_the_first_line_of_each_command(command: str) -> None:
    group = get_command(main.app)
    assert isinstance(group, TyperGroup)
    own = group.get_command(None, command)  # type: ignore[arg-type]
    assert own is not None
    assert str(own.help).startswith(main.COMMANDS[command].rstrip("."))


class TestNothingHeavy:
    @pytest.mark.parametrize("command", ["", *COMMANDS])
    def test_help_imports_no_torch_and_no_cv2(self, command: str, tmp_path: Path) -> None:
        ended, modules = loaded([*command.split(), "--help"], tmp_path)
        assert ended.status == 0
        assert "Usage:" in ended.out
        assert modules == set()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("train --epocs 3 data", "No such option: --epocs"),
            ("trian data", "No such command 'trian'"),
            ("train", "Missing argument"),
            (
                "train data --head lsmt",
                "Invalid value for '--head': 'lsmt' is not one of 'lstm', 'gru', 'mean'",
            ),
            ("train data --epochs many", "--epochs"),
            ("predict a.mp4 --top-k 0", "--top-k"),
        ],
    )
    def test_a_mistyped_command_imports_neither(self, arguments: str, said: str, tmp_path: Path) -> None:
        ended, modules = loaded(arguments.split(), tmp_path)
        assert ended.status == 2
        assert ended.out == ""
        assert said in " ".join(re.sub("[│╭╮╰╯─]", " ", ended.err).split())
        assert modules == set()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["train", "nowhere"], "nowhere: there is no such"),
            (["predict", "a.mp4"], "no model found in runs/"),
            (["eval", "nowhere", "-c", "nowhere.safetensors"], "nowhere"),
            (["info"], "no model found in runs/"),
        ],
    )
    def test_missing_inputs_are_found_before_a_model_is_loaded(
        self, arguments: list[str], said: str, tmp_path: Path
    ) -> None:
        ended, modules = loaded(arguments, tmp_path)
        assert (ended.status, ended.out) == (2, "")
        assert said in ended.err
        assert len(ended.err.splitlines()) <= 2
        assert "torch" not in modules


class TestHelp:
    def test_names_every_command(self, tmp_path: Path) -> None:
        said = shell("--help", cwd=tmp_path).out
        assert set(COMMANDS) >= {"train", "predict", "eval", "crossval", "info", "cache"}
        assert all(re.search(rf"^\W*{name}\b", said, re.MULTILINE) for name in COMMANDS)

    def test_help_shows_the_common_options_first(self, tmp_path: Path) -> None:
        said = shell("train", "--help", cwd=tmp_path, COLUMNS="80").out
        first_panel = said[said.index("─ Options") :].split("╰")[0]
        shown = set(re.findall(r"(?<!\S)--[a-z-]+", first_panel)) - {"--help", "--help-all"}
        assert 3 <= len(shown) <= 7
        assert {"--streams", "--head", "--out"} <= shown
        assert len(said.splitlines()) <= 2 * 24
        assert not any(panel in said for panel in ("─ Training", "─ Model", "─ Hardware"))

    @pytest.mark.parametrize("command", ["predict", "spans"])
    def test_a_usage_error_ends_with_the_way_out(self, command: str, tmp_path: Path) -> None:
        for given, said in (
            (("--min-score", "2"), "'--min-score': must be a number from 0 to 1, such as 0.8"),
            (("--format", "json"), "rows are JSON lines, one object per line; use jsonl"),
        ):
            ended = shell(command, "a.mp4", *given, cwd=tmp_path)
            assert ended.status == 2
            assert said in ended.err

    def test_help_all_shows_every_option(self, tmp_path: Path) -> None:
        said = shell("train", "--help-all", cwd=tmp_path, COLUMNS="100").out
        assert all(panel in said for panel in ("─ Training", "─ Model", "─ Hardware", "─ Data layouts"))
        assert {"--streams", "--mixup", "--workers", "--unfreeze"} <= set(re.findall(r"--[a-z-]+", said))

    @pytest.mark.parametrize("command", COMMANDS)
    def test_ends_with_examples_that_use_options_it_has(self, command: str, tmp_path: Path) -> None:
        said = shell(command, "--help-all", cwd=tmp_path, COLUMNS="100").out
        panels, examples = said.split("Examples:\n")
        used = [word for line in examples.splitlines() for word in re.findall(r"(?<= )--[a-z-]+", line)]
        assert f"vidlstm {command}" in examples
        assert all(option in panels for option in used)

    @pytest.mark.skipif(shutil.which("awk") is None, reason="needs awk")
    def test_the_example_that_filters_rows_looks_at_labels_not_at_paths(self) -> None:
        (filtering,) = [example.split(" - | ")[1] for example in predict.EXAMPLES if " - | " in example]
        rows = "wave/1.mp4\tsit\t0.9000\n1.mp4\twave\t0.8000\n2.mp4\twaves\t0.8000\n"
        done = subprocess.run(shlex.split(filtering), input=rows, capture_output=True, text=True, check=True)
        assert done.stdout == "1.mp4\twave\t0.8000\n"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_option_with_a_value_shows_its_default(self, command: str) -> None:
        group = get_command(main.app)
        assert isinstance(group, TyperGroup)
        own: Any = group.get_command(None, command)  # type: ignore[arg-type]
        without = [
            option.opts[0]
            for option in own.params
            if option.param_type_name == "option"
            and not option.is_flag
            and option.default is None
            and not option.show_default
        ]
        assert set(without) <= OFF_UNLESS_GIVEN

    def test_h_and_no_arguments_show_the_help(self, tmp_path: Path) -> None:
        assert shell("train", "-h", cwd=tmp_path).out == shell("train", "--help", cwd=tmp_path).out
        assert "Usage:" in (lambda e: e.out + e.err)(shell(cwd=tmp_path))


class TestEntry:
    def test_version(self, tmp_path: Path) -> None:
        assert shell("--version", cwd=tmp_path) == Ended(0, f"{vidlstm.__version__}\n", "")

    def test_the_installed_script_is_the_same_command(self, tmp_path: Path) -> None:
        script = Path(sys.executable).with_name("vidlstm")
        if not script.exists():
            pytest.skip("no script beside this Python")
        done = subprocess.run([script, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert done.stdout == f"{vidlstm.__version__}\n"

    def test_the_package_itself_imports_nothing(self) -> None:
        script = f"import sys, vidlstm; print([m for m in {HEAVY!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"


class TestCompletion:
    @staticmethod
    def complete(words: str, tmp_path: Path) -> list[str]:
        place = str(words.count(" "))
        program = "import sys; sys.argv = ['vidlstm']; from vidlstm.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "_VIDLSTM_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": place,
            },
        )
        assert done.stderr == ""
        return done.stdout.split()

    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            ("vidlstm tr", ["train"]),
            ("vidlstm cr", ["crossval"]),
            ("vidlstm train --strea", ["--streams"]),
            ("vidlstm train --head ", ["lstm", "gru", "mean"]),
        ],
    )
    def test_works_in_bash(self, words: str, completed: list[str], tmp_path: Path) -> None:
        assert sorted(self.complete(words, tmp_path)) == sorted(completed)
