"""The article's network on scikit-learn's digits (8x8, enlarged to 28x28), a quarter held out.

    python -m tests.benchmarks.digits [--seed 0]

Writes the pictures as class folders under train/ and test/, then runs
`vidlstm train DIGITS --encoder simple --grey --size 28 --no-mirror`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def write_digits(root: Path) -> None:
    """Write `train/<digit>/<n>.png` and `test/...`, with a fixed stratified split."""
    digits = load_digits()
    _, test = train_test_split(
        range(len(digits.target)), test_size=0.25, stratify=digits.target, random_state=0
    )
    held_out = set(test)
    for number, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = root / ("test" if number in held_out else "train") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray(np.rint(picture * 255 / 16).astype(np.uint8))
        grey.resize((28, 28), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.png")


def main() -> None:
    """Train once and print top-1 on the test set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder) / "digits")
        command = [sys.executable, "-m", "vidlstm", "train", f"{folder}/digits", "--out", f"{folder}/run"]
        command += ["--encoder", "simple", "--grey", "--size", "28", "--no-mirror", "--seed", str(seed)]
        started = time.monotonic()
        result = subprocess.run([*command, "--json", "--quiet"], check=True, stdout=subprocess.PIPE)
        top1 = json.loads(result.stdout)["val"]["top1"]
        print(f"seed {seed}: top-1 {top1:.4f} in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
