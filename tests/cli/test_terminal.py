"""Output on a pseudo-terminal, at several widths."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import QUICK
from tests.cli.shell import TrainedRun

if sys.platform == "win32":
    pytest.skip("has no pseudo-terminals", allow_module_level=True)

from tests.cli.pseudo_terminal import terminal


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80, 160])
def test_training_output_fits_the_terminal_without_breaking_words(
    columns: int, tiny_data: Path, tmp_path: Path
) -> None:
    seen = terminal("train", tiny_data, *QUICK, "--out", "r", cwd=tmp_path, columns=columns)
    assert seen.status == 0
    assert not [segment for segment in seen.segments if len(segment.rstrip()) > columns]
    assert not [segment for segment in seen.segments if "…" in segment]
    # Every line ends at the end of a word: joined, the lines are the text on a wide terminal.
    text = " ".join(segment.strip() for segment in seen.segments)
    assert "true accuracy probably" in text
    assert "For comparison, on the same clips: always the most frequent class 50 %" in text
    if columns >= 80:
        bar = re.compile(r"Training: +\d+%.* \d+/30 \[.*epoch.*validation top-1 \d\.\d{3}\]")
        assert any(bar.search(segment) for segment in seen.segments)


class TestPredict:
    def test_the_bar_has_total_and_time_left_when_rows_go_to_a_file(
        self, trained_run: TrainedRun, tmp_path: Path
    ) -> None:
        seen = terminal(
            "predict",
            trained_run.data,
            "-c",
            trained_run.model,
            cwd=tmp_path,
            columns=80,
            rows=tmp_path / "rows",
        )
        assert seen.status == 0
        assert any(re.search(r"Labelling.* \d+/12 \[\d\d:\d\d<", s) for s in seen.segments)
        assert [segment for segment in seen.segments if segment.startswith("12 done: ")], seen.segments[-3:]
        assert (tmp_path / "rows").read_text().count("\n") == 12

    def test_the_table_marks_failures_in_colour(self, trained_run: TrainedRun, tmp_path: Path) -> None:
        asked = ("predict", "gone.avi", "-c", trained_run.model)
        seen = terminal(*asked, cwd=tmp_path, columns=80)
        assert seen.status == 1
        assert "\x1b[31m[not_found: no such file]\x1b[0m" in seen.raw

    def test_no_color_is_respected(self, trained_run: TrainedRun, tmp_path: Path) -> None:
        asked = ("predict", "gone.avi", "-c", trained_run.model)
        seen = terminal(*asked, cwd=tmp_path, columns=80, NO_COLOR="1")
        assert "[not_found: no such file]" in seen.raw
        assert "\x1b[" not in seen.raw
