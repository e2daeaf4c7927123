"""The README: everything it names exists, its commands run, and its pictures match the real output."""

from __future__ import annotations

import html
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.shell import shell
from tests.cli.test_manual import options
from vidlstm.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
IMAGES = ROOT / ".github" / "images"


def test_readme_names_only_existing_options_and_commands() -> None:
    own = re.sub(r"(?m)^.*(curl|mosquitto_pub|notify-send|python -m|pip install).*$", "", README)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own)) <= options() | {
        "--help-all",
        "--install-completion",
    }
    assert set(re.findall(r"`(?:[\w./]*/)?vidlstm ([a-z]+)", README)) - {"help"} <= set(main.COMMANDS)


def test_link_targets_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert {page.name for page in (ROOT / "vidlstm" / "docs").iterdir()} <= {
        Path(link).name for link in links
    }


def test_pictures_are_small_and_self_contained() -> None:
    pictures = list(IMAGES.iterdir())
    assert {picture.suffix for picture in pictures} == {".svg", ".png"}
    assert sum(picture.stat().st_size for picture in pictures) < 1_000_000
    for picture in IMAGES.glob("*.svg"):
        text = picture.read_text(encoding="utf-8")
        assert not re.search(r"href=|url\((?!#)|@import|<script", text.replace(f"url(#{picture.stem}", ""))


def shown(name: str) -> list[str]:
    """Return the lines of a terminal picture, with every number replaced by 0."""
    svg = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
    lines: dict[str, str] = {}
    for line, part in re.findall(rf'clip-path="url\(#{name}-line-(\d+)\)">([^<]*)</text>', svg):
        lines[line] = lines.get(line, "") + html.unescape(part).replace("\xa0", " ")
    return [as_shape(line) for line in lines.values() if line.strip()]


def as_shape(text: str) -> str:
    """Replace numbers, which differ between machines, and the spaces that fill a column."""
    return re.sub(r" +", " ", re.sub(r"[\d.]+", "0", text)).strip()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_commands_run_and_pictures_match_their_output(tmp_path: Path) -> None:
    from tests.cli.pseudo_terminal import terminal

    shutil.copytree(ROOT / "sample_videos", tmp_path / "sample_videos")
    (tmp_path / "sample_videos" / "old.avi").touch()
    seen = terminal("train", "sample_videos", cwd=tmp_path, columns=92)
    assert seen.status == 0
    come = [as_shape(line) for line in seen.segments]
    picture = shown("train")
    assert picture[0] == "$ vidlstm train sample_videos"
    assert picture[1] == "0 of 0 held-out clips right: 0 % (true accuracy probably 0 to 0 %)0"
    table = [line for line in picture if line.startswith("│")]
    assert len(table) == 8
    assert [line for line in (picture[1], *table, *picture[-3:]) if line not in come] == []
    names = ["wave/person01_wave_d1.mp4", "stand_up/person01_stand_up_d1.mp4", "old.avi"]
    seen = terminal("predict", *(f"sample_videos/{name}" for name in names), cwd=tmp_path, columns=92)
    assert seen.status == 1
    assert shown("predict")[2:] == [as_shape(line) for line in seen.segments if "clip/s" not in line]
    ended = shell("spans", "sample_videos/films", "--report", "films.html", cwd=tmp_path)
    assert ended.status == 0
    assert (tmp_path / "films.html").exists()
