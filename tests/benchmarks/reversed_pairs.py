"""What the LSTM is for: top-1 on sample_videos, overall and within pairs of reversed actions.

    python -m tests.benchmarks.reversed_pairs [--seed 0]

Runs `vidlstm crossval sample_videos --streams rgb` (5 folds, every performer in one of them) with both
heads. Within a pair, such as sit_down and stand_up, the frames are the same and only their order
differs; only clips that are given one of the pair's two labels are counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PAIRS = (("sit_down", "stand_up"), ("pick_up", "put_down"))
SAMPLES = Path(__file__).parents[2] / "sample_videos"


def crossvalidate(head: str, seed: int) -> dict[str, Any]:
    """Return the JSON of one cross-validation."""
    command = [sys.executable, "-m", "vidlstm", "crossval", str(SAMPLES)]
    command += ["--streams", "rgb", "--head", head, "--seed", str(seed), "--json", "--quiet"]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result


def inside_pairs(result: dict[str, Any]) -> float:
    """Return the share of right labels among the clips that were given a label of their pair."""
    places = [[result["classes"].index(name) for name in pair] for pair in PAIRS]
    named = right = 0
    for pair in places:
        named += sum(result["confusion"][true][said] for true in pair for said in pair)
        right += sum(result["confusion"][true][true] for true in pair)
    return right / named


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    print("| head | top-1 | inside the reversed pairs (chance: 0.5) |")
    print("| --- | --- | --- |")
    for head in ("mean", "lstm"):
        result = crossvalidate(head, seed)
        print(f"| {head} | {result['top1']:.3f} | {inside_pairs(result):.3f} |", flush=True)


if __name__ == "__main__":
    main()
