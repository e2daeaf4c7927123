"""`vidlstm help`: the pages of the manual; everything that they mention exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tests.cli.shell import shell
from vidlstm.cli import main
from vidlstm.cli.commands.help import topics

PAGES = Path(main.__file__).parents[1] / "docs"


def options() -> set[str]:
    """Return every option of every command, with both names of a switch."""
    group = get_command(main.app)
    assert isinstance(group, TyperGroup)
    found = {"--help", "--version"}
    for name in main.COMMANDS:
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        for parameter in command.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found


def test_the_list_of_pages(tmp_path: Path) -> None:
    ended = shell("help", cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    *pages, empty, way_on = ended.out.splitlines()
    assert [line.split()[0] for line in pages] == sorted(p.stem for p in PAGES.glob("*.md"))
    assert (empty, way_on) == ("", "Open a page with: vidlstm help PAGE")


def test_a_page_is_plain_markdown_in_a_pipe(tmp_path: Path) -> None:
    ended = shell("help", "formats", cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (PAGES / "formats.md").read_text(encoding="utf-8")


def test_a_class_that_does_badly_has_a_page(tmp_path: Path) -> None:
    ended = shell("help", "accuracy", cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("# When a class does badly\n")


def test_an_unknown_page_names_the_known_ones(tmp_path: Path) -> None:
    ended = shell("help", "everything", cwd=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("vidlstm: everything: no such page; the pages are accuracy, cluster, data, ")


def test_a_mistyped_page_is_suggested(tmp_path: Path) -> None:
    ended = shell("help", "predcit", cwd=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("vidlstm: predcit: no such page. Did you mean 'predict'? ")


@pytest.mark.parametrize("topic", topics())
def test_a_page_names_only_options_and_commands_and_pages_that_exist(topic: str) -> None:
    text = (PAGES / f"{topic}.md").read_text(encoding="utf-8")
    own = re.sub(r"(?m)^.*(torchrun|python -m|pip install).*$", "", text)  # these have other options
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own)) <= options()
    assert set(re.findall(r"\bvidlstm (?!help)([a-z]+)", own)) <= set(main.COMMANDS)
    assert set(re.findall(r"vidlstm help ([a-z]+)", own)) <= set(topics())


@pytest.mark.parametrize("topic", topics())
def test_a_page_has_one_title_and_lines_that_fit(topic: str) -> None:
    lines = (PAGES / f"{topic}.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert all(len(line) <= 140 for line in lines)
