"""Install the weights of the pose stream as users do: in a fresh venv, with the command in the message.

    python -m tests.benchmarks.pose CLIP...

Prints what the command installed and, for each clip, how many people are found in how many moments, and the
cost.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from vidlstm.config import ModelConfig
from vidlstm.engine.extraction.people import find_people
from vidlstm.engine.extraction.reading import PEOPLE_SIDE
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.models.pose_weights import _INSTALL, PoseWeights, find_pose_weights

_HARMFUL = ("cv2", "jax", "google")
"""Packages that the package's own requirements would install or replace."""


def install(folder: Path) -> PoseWeights:
    """Run the command in a fresh venv, and read the weights that it installed."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    found = re.match(r"pip (install --no-deps \S+)", _INSTALL)
    assert found, _INSTALL
    subprocess.run([python, "-m", "pip", "-q", *shlex.split(found[1])], check=True)
    (site,) = folder.rglob("site-packages")
    assert not [name for name in _HARMFUL if (site / name).exists()]
    weights = find_pose_weights(site)
    assert "mediapipe" not in sys.modules
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--weights", type=Path, help="take these in place of a fresh venv")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = find_pose_weights(asked.weights) if asked.weights else install(Path(folder, "venv"))
        print(f"weights {weights.digest}: {len(weights.detector)} and {len(weights.landmarks)} bytes")
        networks = weights.put_into(Path(folder, "networks"))
        spec = ClipSpec(ModelConfig.default("video", ("a", "b")).sampling, 2, None, picture_side=PEOPLE_SIDE)
        for path in asked.clips:
            pictures = read_clip(path, spec).pictures
            assert pictures is not None
            began = time.process_time()
            seen = np.isfinite(find_people(pictures, networks, 2)).all((2, 3)).sum(1)
            seconds = time.process_time() - began
            counts = " ".join(f"{n}:{int((seen == n).sum())}" for n in range(3))
            print(f"{path}\t{len(seen)} moments, people {counts}\t{seconds:.2f} CPU s")


if __name__ == "__main__":
    main()
