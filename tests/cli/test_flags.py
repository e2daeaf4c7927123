"""Messages below `cli` name settings, and `cli` turns them into flags. Every named setting has a flag."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import vidlstm
from vidlstm.cli import main, options
from vidlstm.cli.flags import FLAGS, given_flags, with_flags

PACKAGE = Path(vidlstm.__file__).parent
PROGRAM = PACKAGE / "engine" / "exporting" / "sample.py"  # exported as predict.py, with options of its own
BELOW_CLI = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if "cli" not in file.relative_to(PACKAGE).parts and file != PROGRAM
]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("`num_frames=0`: at least 1", "--frames 0: at least 1"),
        ("pass `overwrite=True`", "pass --overwrite"),
        ("`learning_rate`", "--lr"),
        ("`cache=False`", "--no-cache"),
        ("`start=runs/1`: not a run folder", "--from runs/1: not a run folder"),
        ("train one with `vidlstm train DATA`", "train one with `vidlstm train DATA`"),
        ("`sed`", "`sed`"),
    ],
)
def test_a_setting_becomes_its_flag(said: str, shown: str) -> None:
    assert with_flags(said) == shown


def messages(file: Path) -> Iterator[str]:
    """Yield the strings of a module except docstrings, without the values in f-strings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
        elif isinstance(node, ast.Constant) and id(node) not in docstrings | inside:
            yield str(node.value)


def existing_flags() -> set[str]:
    group = get_command(main.app)
    assert isinstance(group, TyperGroup)
    found = {"DATA"}
    for name in main.COMMANDS:
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        for parameter in command.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found


@pytest.mark.parametrize("file", BELOW_CLI, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_below_cli_no_message_names_a_flag(file: Path) -> None:
    for text in messages(file):
        rest = re.sub(r"`vidlstm [^`]*`|pip install [^;)]*|without --no-deps|var\(--[a-z]+\)", "", text)
        assert not re.search(r"(?<![\w-])--[a-z]", rest), text


@pytest.mark.parametrize("file", BELOW_CLI, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_setting_that_a_message_names_has_a_flag(file: Path) -> None:
    for text in messages(file):
        for name in re.findall(r"`([a-z][a-z_]*)(?:=[^`]*)?`", text):
            assert name in FLAGS, text


def test_every_flag_exists() -> None:
    assert set(FLAGS.values()) <= existing_flags()


def test_settings_become_the_arguments_that_give_them() -> None:
    data = options.DataOptions(Path("my clips"), group_by="-(.*)_", background="none")
    assert given_flags(data) == ["--group-by=-(.*)_", "--background", "none"]
    assert given_flags(options.TrainingOptions(epochs=8, learning_rate=0.01)) == [
        "--epochs",
        "8",
        "--lr",
        "0.01",
    ]
    assert given_flags(options.FineTuneOptions(checkpointing=False)) == ["--no-checkpointing"]
    assert given_flags(options.ModelOptions()) == []
