"""Golden rows of `watch`, its status line on a terminal, and its signals."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from vidlstm.cli.rows import loop
from vidlstm.cli.rows.formats.live import TABLE_HEADER, jsonl_row, status, table_row, tsv_row
from vidlstm.cli.rows.loop import interruptible
from vidlstm.engine.live.events import LiveEvent, LiveState
from vidlstm.records import Score

START = LiveEvent("start", 1764101643.24, "wave\tx", 0.912345678, 12.5, None, 0.21, 4.375, 3)
LOST = LiveEvent("lost", 1764101643.96, None, None, None, None, 5.0, 5.0, 3, "rtsp://u:***@c/1: no answer")


def test_rows_of_tsv() -> None:
    assert tsv_row(START) == "2025-11-25T20:14:03.2Z\tstart\twave\\tx\t0.9123\t12.50\t\t0.21\t3\n"
    assert tsv_row(LOST) == "2025-11-25T20:14:04.0Z\tlost\t\t\t\t\t5.00\t3\trtsp://u:***@c/1: no answer\n"


def test_rows_of_jsonl() -> None:
    assert jsonl_row(START) == (
        '{"schema": 1, "time": "2025-11-25T20:14:03.2Z", "event": "start", "label": "wave\\tx", '
        '"score": 0.912346, "start": 12.5, "end": null, "lag": 0.21, "delay": 4.375, "dropped": 3, '
        '"reason": null}\n'
    )


def test_rows_of_a_table_are_aligned_with_their_titles() -> None:
    row = table_row(START)
    assert row.endswith("wave\\tx\n")
    assert row.index("wave") == TABLE_HEADER.index("label")
    assert row.index("0.9123") + 6 == TABLE_HEADER.index("score") + 5
    assert table_row(LOST).endswith("  rtsp://u:***@c/1: no answer\n")


def test_the_line_on_a_terminal() -> None:
    top = (Score("wave", 0.9), Score("a label that is far too long", 0.1), Score("sit", 0.0))
    assert status(LiveState(24.6, 0.123, 3, top, "wave", is_lost=False)) == (
        "25 fps  lag 0.12 s  dropped 3  wave █████████  0.90  a label that is… █          0.10  "
        "sit            0.00"
    )
    assert status(LiveState(0.0, 7.2, 3, (), None, is_lost=True)) == (
        "source lost 7 s ago; reconnecting  dropped 3"
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_signal_sent_twice_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted, ended = threading.Event(), []
    with interruptible(interrupted, lambda: ended.append(1), (signal.SIGINT, signal.SIGTERM)):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted.is_set()
        assert ended == [1]
        monkeypatch.setattr(loop, "_SAME_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is not None
