"""Speed, compared with the alternatives that people would use, and with the limit.

    python -m tests.benchmarks.speed [--real FOLDER] [--json FILE] [--parts sampling,labelling,...]
    python -m tests.benchmarks.speed --quick

Run it by hand, on a quiet machine, with the peers installed (`pip install -e '.[bench,cpu]'`); missing ones
are named and left out. Everything is timed in alternation with its peers. Clips and models are made once and
kept in the user's cache folder (1 GB).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs

from tests.benchmarks.speed.measure import Result, describe_machine

PARTS = ("sampling", "labelling", "training", "startup", "films", "growth", "gpu")
"""`labelling` includes the comparison with the limit; `gpu` measures nothing without a GPU."""


def run_part(name: str, kept: Path, real: Path | None, rounds: int) -> Iterable[Result]:
    """Run one part. Its imports are here, because the other parts do not need them."""
    if name == "sampling":
        from tests.benchmarks.speed.sampling import compare_sampling

        return [compare_sampling(kept, real, rounds)]
    if name == "labelling":
        from tests.benchmarks.speed.labelling import compare_labelling

        return compare_labelling(kept, rounds)
    if name == "quick":
        from tests.benchmarks.speed.quick import check_quick

        return [check_quick(kept)]
    if name == "training":
        from tests.benchmarks.speed.training import measure_training

        return measure_training(kept, real, rounds)
    if name == "startup":
        from tests.benchmarks.speed.startup import measure_startup

        return measure_startup(kept, 2 * rounds)
    if name == "films":
        from tests.benchmarks.speed.films import measure_films

        return measure_films(kept, rounds)
    if name == "gpu":
        from tests.benchmarks.speed.gpu import measure_gpu

        return measure_gpu(kept, rounds)
    from tests.benchmarks.speed.growth import measure_growth

    return measure_growth(kept)


def main() -> int:
    """Run the parts; print and save their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, help="folder of real clips, with a labels.csv")
    parser.add_argument("--json", type=Path, help="write everything to this file, too")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="only labelling against the plain script, in under two minutes"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that each thing is timed")
    parser.add_argument("--kept", type=Path, default=platformdirs.user_cache_path("vidlstm-benchmark"))
    options = parser.parse_args()
    chosen = ["quick"] if options.quick else options.parts.split(",")
    if unknown := set(chosen) - {*PARTS, "quick"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    machine = describe_machine()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    summary: dict[str, Any] = {"machine": machine, "parts": {}}
    missed = False
    for part in chosen:
        started = time.monotonic()
        results = []
        for result in run_part(part, options.kept, options.real, options.rounds):
            results.append(result)
            print(f"\n{result.to_text()}", flush=True)
            missed |= any(not bar.holds for bar in result.bars)
        seconds = round(time.monotonic() - started)
        summary["parts"][part] = {"seconds": seconds, "results": [result.to_json() for result in results]}
        print(f"({part}: {seconds} s)", flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(summary, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
