"""Programs for events: arguments stay whole, failures are reported, and nothing is delayed."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from vidlstm.engine.live.events import LiveEvent
from vidlstm.engine.live.programs import MOST_WAITING, Programs
from vidlstm.errors import UsageError

PYTHON = shlex.quote(sys.executable) if os.name != "nt" else f'"{sys.executable}"'
WRITE = "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="paths of Windows in a command of POSIX")


def event(label: str | None = "wave", kind: str = "start") -> LiveEvent:
    return LiveEvent(kind, 1764101643.24, label, 0.9123, 3.5, None, 0.21, 4.0, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "label",
    [
        "wave",
        "two words",
        "$(touch here); `id` | cat > there & 'quoted\" \\",
        "{score} {label}",
        "--help",
        "ünï",
    ],
)
def test_a_label_is_always_one_argument(tmp_path: Path, label: str) -> None:
    out = tmp_path / "arguments.json"
    told: list[str] = []
    template = f'{PYTHON} -c "{WRITE}" {out} {{event}} "a {{label}} b" {{score}} {{time}} {{end}}'
    programs = Programs(template, told.append)
    programs.run(event(label))
    programs.close(30)
    assert told == []
    assert json.loads(out.read_text()) == ["start", f"a {label} b", "0.9123", "2025-11-25T20:14:03.2Z", ""]
    assert [p.name for p in tmp_path.iterdir()] == ["arguments.json"]


def test_failures_are_reported() -> None:
    told: list[str] = []
    programs = Programs(f'{PYTHON} -c "raise SystemExit(3)"', told.append)
    programs.run(event())
    programs.run(event(None, "lost"))
    programs.close(30)
    assert told == [
        f"`exec`: {sys.executable}: exit status 3 (start of wave)",
        f"`exec`: {sys.executable}: exit status 3 (lost)",
    ]


def test_a_label_that_is_not_a_valid_argument_is_reported() -> None:
    told: list[str] = []
    programs = Programs(f'{PYTHON} -c "" {{label}}', told.append)
    programs.run(event("a\0b"))
    programs.close(30)
    assert told == [f"`exec`: {sys.executable}: embedded null byte"]


def test_a_program_that_hangs_delays_nothing_and_is_killed() -> None:
    told: list[str] = []
    programs = Programs(f'{PYTHON} -c "import time; time.sleep(600)"', told.append)
    began = time.monotonic()
    for _ in range(MOST_WAITING + 3):
        programs.run(event())
    assert time.monotonic() - began < 5  # waiting for one program would take 600
    full = [text for text in told if "events are already queued; not run for start of wave" in text]
    assert 2 <= len(full) <= 3  # one may have been started
    programs.close(0.2)
    assert told[-1] == f"`exec`: {sys.executable}: killed because it did not end in time (start of wave)"


def test_a_program_has_a_time_limit() -> None:
    told: list[str] = []
    programs = Programs(f'{PYTHON} -c "import time; time.sleep(600)"', told.append, run_seconds=0.1)
    programs.run(event())
    programs.close(30)
    assert told == [f"`exec`: {sys.executable}: killed because it did not end in time (start of wave)"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "no program given"),
        ("no-such-program-here {label}", "program no-such-program-here not found"),
        (f"{PYTHON} {{name}}", "unknown field {name}; use event, label, score"),
        ("{label}", "the program name cannot contain a field"),
        (f"{PYTHON} 'a", "no closing quotation"),
    ],
)
def test_invalid_templates(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Programs(template, print)
