"""The cost of recognising a clip in the feature store: `python -m tests.benchmarks.identity`.

Makes 100,000 sparse files of 256 KiB in the current or the given folder, and compares the CPU seconds of
`clip_identity` (one stat) with those of `fingerprint` (reads three blocks of 64 KiB).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vidlstm.data.fingerprints import fingerprint
from vidlstm.features.store import clip_identity

NUM_FILES = 100_000
SIZE = 256 * 1024


def cpu_seconds(function: Callable[[Path], str], files: list[Path]) -> float:
    began = time.process_time()
    for file in files:
        function(file)
    return time.process_time() - began


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as folder:
        files = [Path(folder, f"{n % 100:02}", f"{n}.mp4") for n in range(NUM_FILES)]
        for file in files:
            file.parent.mkdir(exist_ok=True)
            with file.open("wb") as stream:
                stream.truncate(SIZE)
        for function in (clip_identity, fingerprint):
            print(f"{function.__name__}: {cpu_seconds(function, files):.1f} CPU s for {NUM_FILES} files")


if __name__ == "__main__":
    main()
