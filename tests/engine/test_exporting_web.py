"""An exported model gives the same result in a browser, with onnxruntime-web, as here.

The test downloads onnxruntime-web from npm; without npm, its registry or Chromium, it is skipped.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.report.browser import Browser, start_browser
from vidlstm.config import ModelConfig
from vidlstm.engine.exporting.clips import random_clips
from vidlstm.models.backends.convert import convert_model
from vidlstm.models.checkpoint import build_model, rgb_encoder

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = """<!doctype html><meta charset="utf-8"><title>vidlstm</title><pre id="shown"></pre>
<script type="module">
import * as ort from "./ort.wasm.bundle.min.mjs"
ort.env.wasm.numThreads = 1
const read = async name => new Uint8Array(await (await fetch(name)).arrayBuffer())
const [encoder, head] = await Promise.all(
  ["encoder.onnx", "head.onnx"].map(async name => ort.InferenceSession.create(await read(name))))
const [views, steps, side] = SHAPE, classes = CLASSES
const pictures = new ort.Tensor("uint8", await read("frames.bin"), [views * steps, side, side, 3])
const {features} = await encoder.run({pictures})
const {probabilities, novelty} = await head.run({
  rgb: features.reshape([1, views, steps, features.dims[1]]),
  rgb_mask: new ort.Tensor("bool", new Uint8Array(steps).fill(1), [1, steps]),
})
const scores = Array.from(probabilities.data)
window.result = {label: classes[scores.indexOf(Math.max(...scores))], scores}
shown.textContent = classes.map((name, i) => `${name} ${scores[i].toFixed(4)}`).join("\\n")
</script>"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of onnxruntime-web, downloaded from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here: nothing to compute with in a browser")
    folder = tmp_path_factory.mktemp("npm")
    quietly = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
    command = (npm, "install", *quietly, "--fetch-retries=0", "--fetch-timeout=20000", "onnxruntime-web")
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError):
        pytest.skip("onnxruntime-web cannot be had from npm's registry")
    return folder / "node_modules" / "onnxruntime-web" / "dist"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from start_browser(tmp_path_factory.mktemp("profile"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serve a folder to this machine only."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def guess_type(self, path: str | os.PathLike[str]) -> str:
            return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_browser_gives_the_same_label(runtime: Path, browser: Browser, tmp_path: Path, site: str) -> None:
    config = ModelConfig.default("video", ("wave", "jump", "sit")).changed(
        streams=("rgb",), mirror=False, members=2, encoder={"size": 96}
    )
    encoder = rgb_encoder(config)
    assert encoder is not None
    model = build_model(config, {"rgb": encoder.width}, encoder)
    model.modules().eval()
    frames = random_clips(model)[0].sequences["rgb"][0]  # (V, T, S, S, 3)
    views, steps, side = frames.shape[:3]
    with torch.inference_mode():
        features = encoder(torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2))
        mask = torch.ones(views, steps, dtype=torch.bool)
        branches = model.classifier({"rgb": features.view(views, steps, -1)}, {"rgb": mask}, {})
        log_scores = branches.mean(1, keepdim=True).log_softmax(-1)
        wanted = model.classifier.fuse(log_scores).softmax(-1)[0].numpy()

    for name, content in convert_model(model).items():
        (tmp_path / name).write_bytes(content)
    for name in RUNTIME:
        shutil.copy(runtime / name, tmp_path)
    (tmp_path / "frames.bin").write_bytes(np.ascontiguousarray(frames).tobytes())
    page = PAGE.replace("SHAPE", str([views, steps, side])).replace("CLASSES", str(list(config.classes)))
    (tmp_path / "index.html").write_text(page, encoding="utf-8")

    browser.driver.get(site + "index.html")
    end = time.monotonic() + 60
    while (found := browser.run("return window.result")) is None and time.monotonic() < end:
        time.sleep(0.1)
    assert found is not None, browser.complaints()
    assert found["label"] == config.classes[wanted.argmax()]
    np.testing.assert_allclose(found["scores"], wanted, atol=1e-4)
