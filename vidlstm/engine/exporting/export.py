"""Export a model to a folder with networks, `model.json`, a prediction program and a README.

The folder is created atomically, after the networks have been read back and compared with the model.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, ExportFormat, ModelConfig
from vidlstm.engine.devices import one_thread
from vidlstm.engine.exporting import sample
from vidlstm.engine.exporting.clips import random_clips, run_clips
from vidlstm.engine.exporting.parity import Parity, compare
from vidlstm.errors import UsageError
from vidlstm.files import sync_folder
from vidlstm.media import sampling
from vidlstm.media.descriptors import motion
from vidlstm.models.backends import openvino
from vidlstm.models.backends.convert import convert_model
from vidlstm.models.checkpoint import Model, load_model
from vidlstm.models.exported import describe, open_networks
from vidlstm.models.header import EXPORTED, read_header
from vidlstm.models.pose_weights import DETECTOR, LANDMARKS
from vidlstm.records import CATCH_ALL, NOVELTY_RATE

_NEEDS: dict[ExportFormat, tuple[tuple[str, ...], str]] = {
    "onnx": (("onnx", "onnxruntime"), "onnx"),
    "openvino": (("onnx", "openvino"), "cpu"),
}
_RUNTIMES: dict[ExportFormat, str] = {"onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Args:
        folder: The exported folder; None if the comparison failed and nothing was written.
        parity: Differences between the model and the exported networks.
        real_clips: Number of clips of the run that were compared; 0: random clips.
        sizes: Size of each file in bytes.
    """

    folder: Path | None
    parity: tuple[Parity, ...]
    real_clips: int
    sizes: Mapping[str, int]


def export(path: Path, networks: ExportFormat, folder: Path) -> Export:
    """Export a model.

    Args:
        path: Path of the checkpoint.
        networks: Format of the networks.
        folder: Folder to write; must not exist.

    Raises:
        CheckpointError: The checkpoint is missing or damaged, or is an exported model.
        UsageError: The folder exists, or a package that the format needs is not installed.
        BackendError: The network cannot be converted.
        OSError: The folder cannot be written.
    """
    packages, extra = _NEEDS[networks]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"`format={networks}`: {package} is not installed; pip install 'vidlstm[{extra}]'"
            )
    if folder.exists():
        raise UsageError(f"{folder}: already exists; remove it, or name another folder")
    model = load_model(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name[:48]}.{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        with one_thread():
            sizes = _write(model, path, networks, beside)
            clips = run_clips(model, path.parent)
            parity = compare(model, *open_networks(beside / EXPORTED, 1), clips or random_clips(model))
        if not all(result.passed for result in parity):
            return Export(None, parity, len(clips), sizes)
        beside.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Export(folder, parity, len(clips), sizes)


def _write(model: Model, path: Path, networks: ExportFormat, folder: Path) -> dict[str, int]:
    """Write all files into a folder; return their sizes."""
    converted = convert_model(model)
    if networks == "openvino":
        openvino.save_networks(openvino.read_networks(converted), folder)
        converted = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    files = {**converted, **_program(model.config), "README.md": _readme(model.config, networks).encode()}
    if model.pose is not None:
        files |= {DETECTOR: model.pose.detector, LANDMARKS: model.pose.landmarks}
    files[EXPORTED] = describe(read_header(path), networks, _preprocessing(model.config), files)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: len(content) for name, content in files.items()}


def _program(config: ModelConfig) -> dict[str, bytes]:
    """Return `predict.py` and the modules that it imports; nothing for streams that it does not support."""
    if not _has_program(config):
        return {}
    source = Path(sample.__file__).read_text(encoding="utf-8")
    source = source.replace("from vidlstm.media.descriptors import", "import")
    source = source.replace("from vidlstm.media.sampling import", "from sampling import")
    files = {"predict.py": source.encode()}
    for module in (motion, sampling):
        file = Path(str(module.__file__))
        files[file.name] = file.read_bytes()
    return files


def _has_program(config: ModelConfig) -> bool:
    return (
        config.kind == "video" and set(config.streams) <= {"rgb", "motion"} and config.encoder.channels == 3
    )


def _preprocessing(config: ModelConfig) -> dict[str, Any]:
    """Describe the preprocessing of a clip, in words and numbers."""
    size = config.encoder.size
    facts: dict[str, Any] = {
        "moments": "see config.sampling and sampling.py; the rgb stream takes every second moment",
        "views": f"{config.views} in time"
        + (", each also mirrored: view 1, its mirror, view 2" * config.mirror),
        "rounding": "features are rounded to float16 between encoder and head",
        "unknown": {"novelty_above": 1 - NOVELTY_RATE, "classes": CATCH_ALL},
    }
    if "rgb" in config.streams:
        facts["pictures"] = (
            f"uint8 (N, {size}, {size}, {config.encoder.channels}), RGB; the whole frame resized, by area "
            "for shrinking, bilinear for enlarging; the encoder normalises"
        )
    if "motion" in config.streams:
        facts["motion"] = (
            f"motion.py on pairs of grey frames {motion.FLOW_SECONDS:.4f} s apart, longest side at most "
            f"{motion.FLOW_SIZE}"
        )
    return facts


def _readme(config: ModelConfig, networks: ExportFormat) -> str:
    """Return the text of the README, about ten lines."""
    suffix = {"onnx": "onnx", "openvino": "xml"}[networks]
    inputs = [f"{s} (B, V, T, D), {s}_mask (B, T)" for s in config.streams if s in SEQUENCE_STREAMS]
    inputs += [f"{s} (B, V, D)" for s in config.streams if s in SUMMARY_STREAMS]
    lines = [
        f"# A vidlstm model: {', '.join(config.classes[:8])}{', ...' * (len(config.classes) > 8)}",
        "",
        f"    vidlstm {'predict' if config.spans is None else 'spans'} -c THIS_FOLDER clip.mp4",
        "",
        f"- head.{suffix}: {'; '.join(inputs)} -> probabilities (B, K), novelty (B,).",
        "  B clips, V views, T steps (each stream its own); masks are true on real steps.",
        "- model.json: classes, sampling, preprocessing, and the digest of each file.",
    ]
    if "rgb" in config.streams:
        shape = f"(N, {config.encoder.size}, {config.encoder.size}, {config.encoder.channels})"
        lines.insert(4, f"- encoder.{suffix}: pictures uint8 {shape} -> features.")
    if _has_program(config):
        packages = f"numpy opencv-python-headless {_RUNTIMES[networks]}"
        lines[3:3] = [
            "",
            "or without vidlstm:",
            "",
            f"    pip install {packages}",
            "    python predict.py clip.mp4",
        ]
    else:
        lines.append("- These streams need vidlstm to compute their features, so there is no predict.py.")
    return "\n".join(lines) + "\n"
