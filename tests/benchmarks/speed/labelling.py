"""Parts 2 and 3: a hundred clips from files to rows, compared with alternatives and with the limit.

First the default streams, then only the `rgb` stream.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.speed.clips import make_clips
from tests.benchmarks.speed.measure import (
    VIDLSTM,
    Bar,
    Cost,
    Result,
    alternate,
    num_cores,
    run_process,
    timed,
)
from tests.benchmarks.speed.readers import ffmpeg_for_torchcodec

NUM_CLIPS = 100
_PEER_CLIPS = 10  # clips that VideoMAE is timed on; it takes seconds for each
_SAMPLE_VIDEOS = Path(__file__).parents[3] / "sample_videos"
TORCH, OPENVINO = "vidlstm", "vidlstm[cpu]"
FLOAT32, BFLOAT16 = "vidlstm[cpu] --precision float32", "vidlstm[cpu] --precision bfloat16"
EXPORTED = "vidlstm export --format openvino"
INT8 = "OpenVINO, int8"
SCRIPTS = ("script with torchcodec", "script with decord")
VIDEOMAE = "transformers, VideoMAE-base"

DEFAULT_STREAMS = "rgb+motion"

Scores = NDArray[np.float64]
Command = Sequence[str | Path]


def trained_model(kept: Path, streams: str = DEFAULT_STREAMS) -> Path:
    """Return a model trained on the sample videos; only the first run trains it."""
    run = kept / f"model-{streams}"
    if not (run / "model.safetensors").exists():
        command: list[str | Path] = [
            *VIDLSTM,
            "train",
            _SAMPLE_VIDEOS,
            "--streams",
            streams,
            "--quiet",
            "--overwrite",
        ]
        run_process([*command, "-o", run])
    return run / "model.safetensors"


def compare_labelling(kept: Path, rounds: int) -> Iterator[Result]:
    """Compare the default streams with the alternatives, then only `rgb`."""
    yield from compare_streams(kept, rounds, DEFAULT_STREAMS, NUM_CLIPS)
    yield from compare_streams(kept, rounds, "rgb", NUM_CLIPS, videomae=False)


def compare_streams(
    kept: Path, rounds: int, streams: str, number: int, *, videomae: bool = True
) -> list[Result]:
    """Time whole processes, and check that they give the same labels.

    Args:
        kept: Folder of clips and models.
        rounds: Number of repetitions of each timing.
        streams: Streams of the model.
        number: Number of clips.
        videomae: Also time the pipeline of transformers, which does not depend on the streams.
    """
    model, clips = trained_model(kept, streams), make_clips(kept, number)
    scores: dict[str, Scores] = {}
    notes: list[str] = []
    with ffmpeg_for_torchcodec() as env:
        commands: dict[str, tuple[Command, Mapping[str, str]]] = {
            TORCH: (predict(model, "--backend", "torch"), {}),
            OPENVINO: (predict(model, "--backend", "openvino"), {}),
            FLOAT32: (predict(model, "--backend", "openvino", "--precision", "float32"), {}),
            BFLOAT16: (predict(model, "--backend", "openvino", "--precision", "bfloat16"), {}),
            EXPORTED: (predict(exported_model(model)), {}),
            SCRIPTS[0]: (script(model, "torchcodec"), env),
            SCRIPTS[1]: (script(model, "decord"), {}),
        }
        ways: dict[str, Callable[[Sequence[Path]], Cost]] = {
            name: partial(label, scores, name, command, more) for name, (command, more) in commands.items()
        }
        if videomae:
            ways[VIDEOMAE] = _videomae
        for name in list(ways):
            try:
                ways[name](clips[:2])  # a first run fills the caches
            except RuntimeError as error:
                notes.append(f"{name} not measured: {str(error).splitlines()[-1]}")
                scores.pop(name, None)
                del ways[name]
        costs = alternate({name: partial(way, clips) for name, way in ways.items()}, rounds)
    limit = find_limit(model, clips)
    notes.append(f"{OPENVINO} labels in {'int8' if INT8 in limit.encode else 'float32'}")
    table = summarise(costs, scores, limit.reference, notes, streams)
    return [table, summarise_limit(costs, limit, streams)]


def predict(model: Path, *options: str) -> Command:
    """Return the command that labels the clips named on standard input, with all scores."""
    given = ("--quiet", "--format", "jsonl", "--top-k", "99")
    return [*VIDLSTM, "predict", "-", "-c", model, *given, *options]


def script(model: Path, reader: str) -> Command:
    """Return the command of the plain script."""
    return [VIDLSTM[0], "-m", f"{__package__}.script", model, reader]


def label(
    scores: dict[str, Scores], name: str, command: Command, env: Mapping[str, str], clips: Sequence[Path]
) -> Cost:
    """Label clips in a new process; store the scores under a name."""
    ended = run_process(command, env, _lines(clips))
    scores[name] = _scores(ended.out, clips)
    return ended.cost


def exported_model(model: Path) -> Path:
    """Return the folder of a model exported for OpenVINO; only the first run exports it."""
    folder = model.with_name("openvino")
    if not folder.exists():
        run_process([*VIDLSTM, "export", model, "--format", "openvino", "--quiet", "-o", folder])
    return folder


def _scores(out: str, clips: Sequence[Path]) -> Scores:
    """Convert rows of `predict` or of the script to scores `(N, K)`, with classes in alphabetical order."""
    found = {}
    for row in map(json.loads, out.splitlines()):
        named = row["scores"] if "scores" in row else {t["label"]: t["score"] for t in row["top"]}
        found[row["path"]] = [named[name] for name in sorted(named)]
    return np.array([found[str(clip)] for clip in clips])


def _lines(clips: Sequence[Path]) -> str:
    return "".join(f"{clip}\n" for clip in clips)


def _videomae(clips: Sequence[Path]) -> Cost:
    """Time the pipeline on a few clips and extrapolate to all, as it processes them one by one."""
    few = clips[: _PEER_CLIPS + 1]
    ended = run_process([VIDLSTM[0], "-m", f"{__package__}.videomae"], stdin=_lines(few))
    seconds = json.loads(ended.out.splitlines()[-1])["seconds"]
    wall = ended.cost.wall - seconds + seconds / (len(few) - 1) * (len(clips) - 1)
    return Cost(wall, ended.cost.cpu * wall / ended.cost.wall)


@dataclass(frozen=True)
class Limit:
    """The minimum cost of labelling.

    Args:
        decode: CPU seconds to read all clips, including optical flow.
        encode: CPU seconds to encode their frames, by backend; `INT8` if it is the model's default.
        reference: Scores `(N, K)` with the plain encoder, layer by layer.
    """

    decode: float
    encode: dict[str, float]
    reference: Scores

    def cpu(self) -> float:
        """Return the CPU seconds of reading plus the fastest encoding."""
        return self.decode + min(self.encode.values())

    def seconds(self) -> float:
        """Return the wall time if all cores did only this."""
        return self.cpu() / num_cores()


def find_limit(file: Path, clips: Sequence[Path]) -> Limit:
    """Measure decoding and encoding separately, each in one thread."""
    import torch

    from vidlstm.engine.extraction.reading import ReadRequest, read
    from vidlstm.engine.scoring import score_clips
    from vidlstm.features.batches import ClipFeatures, Values
    from vidlstm.media.descriptors import motion
    from vidlstm.media.opencv import decode_with
    from vidlstm.models.backends.convert import convert_encoder, openvino_encoder
    from vidlstm.models.backends.int8 import int8_inputs, is_default, quantised
    from vidlstm.models.backends.openvino import OpenVinoEncoder, is_installed, read_networks
    from vidlstm.models.backends.protocol import FrameEncoder
    from vidlstm.models.backends.torch import TorchEncoder
    from vidlstm.models.checkpoint import load_model
    from vidlstm.models.header import read_header

    torch.set_num_threads(1)
    decode_with(1)
    model = load_model(file)
    encoder = model.encoder
    assert encoder is not None
    request = ReadRequest.of(model.config, views=model.config.views)

    def stack(values: NDArray[np.float32]) -> NDArray[np.float16]:
        copies = [values, motion.mirror(values)] if model.config.mirror else [values]
        return np.stack(copies).astype(np.float16)

    encoders: dict[str, FrameEncoder] = {TORCH: TorchEncoder(encoder, 1)}
    if is_installed():
        encoders[FLOAT32] = openvino_encoder(encoder, request.size, request.channels, 1)
        if is_default(model.training.get("int8", {})):
            network = convert_encoder(encoder, request.size, request.channels)
            networks = read_networks(
                {"encoder.onnx": quantised(network, int8_inputs(read_header(file), file))}
            )
            encoders[INT8] = OpenVinoEncoder(INT8, lambda: networks["encoder"], 1)
    decode, encode = 0.0, dict.fromkeys(encoders, 0.0)
    features = []
    for number, clip in enumerate(clips):
        before = time.process_time()
        reading = read(clip, request)
        decode += time.process_time() - before
        frames, table = reading.frames, reading.table
        assert frames is not None
        for name, compute in encoders.items():
            if number == 0:
                compute(frames[0])  # warm-up
            encode[name] += timed(partial(compute, frames[0])).cpu
        with torch.inference_mode():
            rows = encoder(torch.from_numpy(frames[0]).permute(0, 3, 1, 2).contiguous()).half().numpy()
        moved: dict[str, Values] = {s: stack(values) for s, values in reading.sequences.items()}
        features.append(ClipFeatures({**moved, "rgb": rows[table][None]}, {}))
    order = np.argsort(model.config.classes)
    return Limit(decode, encode, score_clips(model, features)[:, order])


def summarise(
    costs: Mapping[str, Cost],
    scores: Mapping[str, Scores],
    reference: Scores,
    notes: Sequence[str],
    streams: str = DEFAULT_STREAMS,
) -> Result:
    """Return the table: times, and differences of the scores from the reference."""
    rows = []
    for name, cost in costs.items():
        equal, off = "-", "-"
        if name in scores:
            share, largest = agreement(scores[name], reference)
            equal, off = f"{share:.0%}", f"{largest:.4f}"
        rows.append((name, cost.wall, cost.cpu, costs[name].wall / costs[TORCH].wall, equal, off))
    bars = []
    script = min((costs[name].wall for name in SCRIPTS if name in costs), default=None)
    for name, against_script, against_videomae in ((TORCH, 2.5, 10), (OPENVINO, 6, 20)):
        if name not in costs:
            continue
        if script is not None:
            bars.append(
                Bar(
                    f"{name}: times faster than the faster script",
                    script / costs[name].wall,
                    against_script,
                    True,
                )
            )
        if VIDEOMAE in costs:
            times = costs[VIDEOMAE].wall / costs[name].wall
            bars.append(Bar(f"{name}: times faster than {VIDEOMAE}", times, against_videomae, True))
        share = agreement(scores[name], reference)[0]
        bars.append(Bar(f"{name}: share of labels equal to the reference", share, 0.99, True))
    for name in {TORCH, FLOAT32} & costs.keys():
        largest = agreement(scores[name], reference)[1]
        bars.append(Bar(f"{name}: largest difference of a score", largest, 0.02, False))
    columns = (
        f"{len(reference)} clips, files to rows",
        "seconds",
        "CPU seconds",
        "time / vidlstm",
        "same labels",
        "scores off by",
    )
    return Result(f"Labelling, {streams}", columns, rows, bars, notes)


def agreement(scores: Scores, reference: Scores) -> tuple[float, float]:
    """Return the share of equal labels, and the largest difference of two scores."""
    same = scores.argmax(axis=1) == reference.argmax(axis=1)
    return float(same.mean()), float(np.abs(scores - reference).max())


def summarise_limit(costs: Mapping[str, Cost], limit: Limit, streams: str = DEFAULT_STREAMS) -> Result:
    """Compare the time of a whole run with that of decoding and encoding alone."""
    fewest = limit.seconds()
    rows: list[tuple[str | float, ...]] = [("decode and flow, CPU seconds", limit.decode)]
    rows += [(f"encode, CPU seconds, {name}", seconds) for name, seconds in limit.encode.items()]
    rows.append((f"limit: all of it on {num_cores()} cores, seconds", fewest))
    rows += [(f"{name}, seconds", costs[name].wall) for name in (TORCH, OPENVINO, FLOAT32) if name in costs]
    best = OPENVINO if OPENVINO in costs else TORCH
    bars = [
        Bar(f"{best}: time over the limit", costs[best].wall / fewest, 1.2, False),
        Bar(f"{best}: CPU time over the limit", costs[best].cpu / limit.cpu(), 1.2, False),
    ]
    if INT8 in limit.encode and {OPENVINO, FLOAT32} <= costs.keys():
        times = costs[FLOAT32].cpu / costs[OPENVINO].cpu
        bars.append(Bar("int8: times less CPU time than float32", times, 1.4, True))
    return Result(f"Against the limit, {streams}", ("", "seconds"), rows, bars)
