"""`gs://` and `hf://` addresses, with local servers that implement the parts of both interfaces in use."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.cli.conftest import QUICK, vidlstm
from tests.tiny import write_action
from vidlstm.stores import version_of

SECRET = "very-secret-token"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings of the clients


class Handler(BaseHTTPRequestHandler):
    """Serves a bucket `clips` like Google's storage and a data set `me/clips` like Hugging Face's hub."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]

    def do_GET(self) -> None:
        path, query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
        match path.split("/", 7)[1:]:
            case ["storage", "v1", "b", "clips", "o"]:
                self._send(self._bucket(query))
            case ["storage", "v1", "b", "clips", "o", name] | ["storage", "v1", "b", "clips", "o", name, _]:
                name = path.partition("/o/")[2]
                self._send(self._object(name) if name in self.files else None)
            case ["download", "storage", "v1", "b", "clips", "o", name]:
                self._send_part(name)
            case ["api", "datasets", "me", "clips", "revision", *_] | ["api", "datasets", "me", "clips"]:
                self._send({"id": "me/clips", "sha": "0" * 40, "siblings": [], "private": False, "tags": []})
            case ["api", "datasets", "me", "clips", "tree", _, *below]:
                self._send(self._tree("/".join(below)))
            case ["datasets", "me", "clips", "resolve", _, *below]:
                self._send_part("/".join(below))
            case _:
                self._send(None)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        found = [self._entry(name) for name in asked if name in self.files]
        folders = [n for n in asked if any(f.startswith(f"{n}/") for f in self.files)]
        self._send([*found, *({"type": "directory", "path": n, "oid": "0" * 40} for n in folders)])

    def _bucket(self, query: dict[str, list[str]]) -> dict[str, Any]:
        prefix = query.get("prefix", [""])[0]
        below = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        folders = sorted({f"{prefix}{name.partition('/')[0]}/" for name in below if "/" in name})
        return {"items": [self._object(prefix + n) for n in below if "/" not in n], "prefixes": folders}

    def _object(self, name: str) -> dict[str, Any]:
        size = str(len(self.files[name]))
        return {
            "kind": "storage#object",
            "bucket": "clips",
            "name": name,
            "size": size,
            "etag": "CJ1",
            "crc32c": "A",
        }

    def _tree(self, folder: str) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        below = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        return [
            *({"type": "directory", "path": prefix + name, "oid": "0" * 40} for name in folders),
            *(self._entry(prefix + name) for name in below if "/" not in name),
        ]

    def _entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _send_part(self, name: str) -> None:
        content = self.files.get(name)
        if content is None:
            self._send(None)
            return
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self._answer(
            206, part, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}
        )

    def _send(self, plain: object) -> None:
        self._answer(404 if plain is None else 200, json.dumps(plain).encode(), {})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "ETag": '"1"', **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Do not log."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server with ten clips of each of two classes and a text file, set in the clients' own variables."""
    folder = tmp_path_factory.mktemp("clips")
    Handler.files = {"data/notes.txt": b"no clip"}
    for action in ("rise", "sink"):
        for number in range(10):
            clip = write_action(folder / f"{action}{number}.avi", action, number)
            Handler.files[f"data/{action}/clip {number}.avi"] = clip.read_bytes()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{made.server_address[1]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        patch.setenv("NO_GCE_CHECK", "true")
        patch.setenv("HF_ENDPOINT", address)
        patch.setenv("HF_TOKEN", SECRET)
        yield
    made.shutdown()
    made.server_close()


@pytest.fixture(
    params=[("gcsfs", "gs://clips"), ("huggingface_hub", "hf://datasets/me/clips")], ids=["gs", "hf"]
)
def store(server: None, request: pytest.FixtureRequest) -> str:
    """Return the address of the clips."""
    package, address = request.param
    pytest.importorskip(package, reason=f"needs {package}: pip install 'vidlstm[cloud]'")
    return str(address)


def test_a_folder_gives_the_rows_of_its_files(store: str, model: Path, tmp_path: Path) -> None:
    command = ("predict", "-c", model, "--workers", "1")
    ended = vidlstm(*command, f"{store}/data/", f"{store}/data/no.avi")
    rows = [line.split("\t") for line in ended.lines]
    assert len(rows) == 21, ended.err
    assert rows[0][0] == f"{store}/data/rise/clip 0.avi"
    assert rows[-1] == [f"{store}/data/no.avi", "", "", "not_found"]
    local = write_action(tmp_path / "0.avi", "rise", 0)
    assert vidlstm(*command, local).lines[0].split("\t")[1:] == rows[0][1:]
    assert SECRET not in ended.out + ended.err


def test_train_and_eval(store: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = vidlstm("train", f"{store}/data/", "--out", run, *QUICK)
    assert ended.status == 0, ended.err
    assert (
        (run / "split.csv")
        .read_text()
        .startswith("path,label,group,split,fingerprint\nrise/clip 0.avi,rise,")
    )
    assert ",\n" not in (run / "split.csv").read_text()  # every fingerprint is known
    assert version_of(f"{store}/data/rise/clip 0.avi") is not None  # so that features are stored
    ended = vidlstm("eval", f"{store}/data", "-c", run, "--workers", "1")
    assert ended.status == 0, ended.err
    assert not [file for file in run.iterdir() if SECRET.encode() in file.read_bytes()]
