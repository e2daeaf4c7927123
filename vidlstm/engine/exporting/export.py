"""Export a model to a folder with networks, `model.json`, a prediction program and a README.

The folder is created atomically, after the networks have been read back and compared with the model.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, ExportFormat, ExportPrecision, ModelConfig
from vidlstm.engine import exporting
from vidlstm.engine.devices import one_thread
from vidlstm.engine.exporting.clips import NUM_COMPARED, random_clips
from vidlstm.engine.exporting.parity import Parity, compare
from vidlstm.engine.precision.agreement import Agreement, agree
from vidlstm.engine.precision.clips import RunFiles, read_clips, run_files
from vidlstm.engine.precision.int8 import measure_inputs, pictures_of
from vidlstm.engine.views import stack_views
from vidlstm.errors import UsageError
from vidlstm.files import sync_folder
from vidlstm.media import resize, sampling
from vidlstm.media.descriptors import motion
from vidlstm.models.backends import openvino
from vidlstm.models.backends.convert import convert_model
from vidlstm.models.backends.int8 import quantised
from vidlstm.models.backends.shrink import in_int8, with_float16_weights
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
        parity: Differences between the model and the exported networks; empty with a lower precision.
        real_clips: Number of clips of the run that were compared; 0: random clips.
        agreement: With a lower precision, the comparison on held-out clips.
        sizes: Size of each file in bytes.
    """

    folder: Path | None
    parity: tuple[Parity, ...]
    real_clips: int
    agreement: Agreement | None
    sizes: Mapping[str, int]


def export(
    path: Path, networks: ExportFormat, folder: Path, *, precision: ExportPrecision = "float32"
) -> Export:
    """Export a model.

    Args:
        path: Path of the checkpoint.
        networks: Format of the networks.
        folder: Folder to write; must not exist.
        precision: `float32`; `float16` (weights, half the size) or `int8` (the encoder, weights and
            activations; the head has float16 weights).

    Raises:
        CheckpointError: The checkpoint is missing or damaged, or is an exported model.
        UsageError: The folder exists, a package that the format needs is not installed, or the model or its
            run lacks what the precision needs.
        BackendError: The network cannot be converted.
        OSError: The folder cannot be written.
    """
    _require_packages(networks, precision)
    if folder.exists():
        raise UsageError(f"{folder}: already exists; remove it, or name another folder")
    model = load_model(path)
    held_out = run_files(model, path.parent, "val", "test")
    training = run_files(model, path.parent, "train")
    missing = [
        name
        for name, is_needed, there in (
            ("held-out", precision != "float32", bool(held_out.paths)),
            ("training", precision == "int8", bool(training.paths)),
        )
        if is_needed and not there
    ]
    if missing:
        raise UsageError(
            f"`precision={precision}`: needs the {' and '.join(missing)} clips of {path.parent}, which are "
            "not where they were; use `precision=float32`"
        )
    if precision == "int8" and model.encoder is None:
        raise UsageError("`precision=int8`: is for the encoder of the rgb stream; use `precision=float16`")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name[:48]}.{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        with one_thread():
            sizes = _write(model, path, networks, precision, training, beside)
            opened = open_networks(beside / EXPORTED, 1)
            if precision == "float32":
                files = run_files(model, path.parent)
                read = read_clips(model, files, NUM_COMPARED)
                clips = [clip for _, clip in read if clip is not None]
                parity = compare(model, *opened, clips or random_clips(model))
                result = Export(folder, parity, len(clips), None, sizes)
                passed = all(row.passed for row in parity)
            else:
                encoder, head = opened
                agreement = agree(
                    model,
                    encoder,
                    lambda clip: head(stack_views(model.config, [clip])),
                    held_out,
                )
                if not agreement.clips:
                    raise UsageError(
                        f"`precision={precision}`: none of the held-out clips of {path.parent} can be read; "
                        "use `precision=float32`"
                    )
                result, passed = Export(folder, (), agreement.clips, agreement, sizes), agreement.passed
        if not passed:
            return replace(result, folder=None)
        beside.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return result


def _require_packages(networks: ExportFormat, precision: ExportPrecision) -> None:
    needs = [(f"format={networks}", package, _NEEDS[networks][1]) for package in _NEEDS[networks][0]]
    if precision == "int8" and networks == "onnx":
        needs.append(("precision=int8", "onnxruntime", "onnx"))  # it quantises
    for setting, package, extra in needs:
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"`{setting}`: {package} is not installed; pip install 'vidlstm[{extra}]'")


def _write(
    model: Model,
    path: Path,
    networks: ExportFormat,
    precision: ExportPrecision,
    training: RunFiles,
    folder: Path,
) -> dict[str, int]:
    """Write all files into a folder; return their sizes."""
    converted = convert_model(model)
    if precision == "int8":
        encoder = converted["encoder.onnx"]
        # Each library is slow on networks that were quantised for the other.
        converted["encoder.onnx"] = (
            in_int8(encoder, pictures_of(model, training))
            if networks == "onnx"
            else quantised(encoder, measure_inputs(model, training))
        )
    if networks == "openvino":
        openvino.save_networks(openvino.read_networks(converted), folder, float16=precision != "float32")
        converted = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    elif precision != "float32":
        converted = {name: with_float16_weights(content) for name, content in converted.items()}
    program = _program(model.config, networks)
    files = {**converted, **program, "README.md": _readme(model.config, networks).encode()}
    if model.pose is not None:
        files |= {DETECTOR: model.pose.detector, LANDMARKS: model.pose.landmarks}
    files[EXPORTED] = describe(read_header(path), networks, precision, _preprocessing(model.config), files)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: len(content) for name, content in files.items()}


def _program(config: ModelConfig, networks: ExportFormat) -> dict[str, bytes]:
    """Return `predict.py` and the modules that it imports; nothing for streams that it does not support."""
    if not _has_program(config):
        return {}
    samples = Path(exporting.__path__[0])
    source = (samples / "sample.py").read_text(encoding="utf-8")
    source = source.replace("from vidlstm.engine.exporting.sample_onnxruntime import", "from network import")
    source = source.replace("from vidlstm.media.descriptors import", "import")
    for module in ("resize", "sampling"):
        source = source.replace(f"from vidlstm.media.{module} import", f"from {module} import")
    network = (samples / f"sample_{_RUNTIMES[networks]}.py").read_bytes()
    files = {"predict.py": source.encode(), "network.py": network}
    for copied in (motion, resize, sampling):
        file = Path(str(copied.__file__))
        text = file.read_text(encoding="utf-8").replace("from vidlstm.media.opencv import cv2", "import cv2")
        files[file.name] = text.encode()
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
    clip = "clip.mp4" if config.kind == "video" else "picture.jpg"
    lines = [
        f"# A vidlstm model: {', '.join(config.classes[:8])}{', ...' * (len(config.classes) > 8)}",
        "",
        f"    vidlstm predict -c THIS_FOLDER {clip}",
    ]
    if config.spans is not None:
        lines.append("    vidlstm spans -c THIS_FOLDER film.mp4")
    if _has_program(config):
        packages = f"numpy opencv-python-headless {_RUNTIMES[networks]}"
        lines += ["", "or without vidlstm:", ""]
        lines += [f"    pip install {packages}", f"    python predict.py {clip}"]
    lines.append("")
    if "rgb" in config.streams:
        shape = f"(N, {config.encoder.size}, {config.encoder.size}, {config.encoder.channels})"
        lines.append(f"- encoder.{suffix}: pictures uint8 {shape} -> features.")
    lines += [
        f"- head.{suffix}: {'; '.join(inputs)} -> probabilities (B, K), novelty (B,).",
        "  B clips, V views, T steps (each stream its own); masks are true on real steps.",
        "- model.json: classes, sampling, preprocessing, and the digest of each file.",
    ]
    if not _has_program(config):
        lines.append("- These streams need vidlstm to compute their features, so there is no predict.py.")
    if "pose" in config.streams:
        lines.append("- The pose stream needs `pip install 'vidlstm[cpu]'`; its networks are in this folder.")
    return "\n".join(lines) + "\n"
