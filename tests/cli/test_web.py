"""`https://` addresses, with a local server and a self-signed certificate."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import QUICK, vidlstm
from tests.tiny import write_action
from vidlstm import stores
from vidlstm.errors import FailureCode, InputError
from vidlstm.stores import fetch, is_folder, size_of

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'vidlstm[cloud]'")
pytest.importorskip("aiohttp", reason="needs aiohttp: pip install 'vidlstm[cloud]'")
pytest.importorskip("cryptography", reason="needs cryptography, which comes with moto[server]")

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the client's event loop


class Handler(SimpleHTTPRequestHandler):
    """Lists folders, and always sends whole files, even if part of a file is requested."""

    def send_head(self) -> Any:
        if self.path.endswith("private.avi"):
            return self.send_error(HTTPStatus.FORBIDDEN)
        if self.path.endswith("broken.avi"):
            return self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
        return super().send_head()

    def log_message(self, format: str, *arguments: object) -> None:
        """Do not log."""


def write_certificate(file: Path) -> Path:
    """Write a key and a self-signed certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server with clips; return its address."""
    folder = tmp_path_factory.mktemp("site")
    for action in ("rise up", "sink"):
        for number in range(10):
            write_action(folder / "data" / action / f"{number}.avi", action.partition(" ")[0], number)
    (folder / "large.avi").write_bytes(bytes(20_000_000))
    certificate = write_certificate(tmp_path_factory.mktemp("key") / "pair.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    server.socket = own.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    trust = ssl.create_default_context(cafile=str(certificate))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fsspec.config.conf, "https", {"ssl": trust})
        yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_files_and_folders_give_the_rows_of_local_ones(site: str, model: Path, tmp_path: Path) -> None:
    command = ("predict", "-c", model, "--workers", "1")
    ended = vidlstm(*command, f"{site}/data/", f"{site}/no.avi")
    rows = [line.split("\t") for line in ended.lines]
    assert len(rows) == 21
    assert rows[0][0] == f"{site}/data/rise%20up/0.avi"
    assert rows[-1] == [f"{site}/no.avi", "", "", "not_found"]
    local = write_action(tmp_path / "0.avi", "rise", 0)
    assert vidlstm(*command, local).lines[0].split("\t")[1:] == rows[0][1:]


def test_a_server_without_partial_downloads_sends_the_whole_file(site: str, tmp_path: Path) -> None:
    fetch(f"{site}/large.avi", tmp_path / "copy", 30_000_000)
    assert (tmp_path / "copy").stat().st_size == 20_000_000


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("private.avi", FailureCode.PERMISSION, "the store does not permit reading it"),
        ("broken.avi", FailureCode.READ_ERROR, "cannot be downloaded (ClientResponseError)"),
        ("no.avi", FailureCode.NOT_FOUND, "no such file in the store"),
    ],
)
def test_a_server_that_refuses(site: str, name: str, code: FailureCode, message: str) -> None:
    with pytest.raises(InputError) as raised:
        size_of(f"{site}/{name}")
    assert (raised.value.code, raised.value.message) == (code, message)


def test_a_certificate_that_is_not_trusted_is_not_a_missing_file(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "https", {"headers": {"Accept": "*/*"}})  # forces a new client
    with pytest.raises(InputError) as raised:
        size_of(f"{site}/data/sink/0.avi")
    assert raised.value.message == "cannot be downloaded: the server's certificate is not trusted"


def test_a_name_without_suffix_is_not_downloaded_to_find_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_open", None)
    assert not is_folder("https://host/download?clip=3")
    assert is_folder("https://host/clips/")


@pytest.mark.slow
def test_train_and_crossval(site: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = vidlstm("train", f"{site}/data/", "--out", run, *QUICK)
    assert ended.status == 0, ended.err
    assert (
        "rise up/0.avi" not in (run / "split.csv").read_text()
    )  # addresses stay encoded, class names are decoded
    assert "rise%20up/0.avi,rise up," in (run / "split.csv").read_text()
    ended = vidlstm("eval", f"{site}/data/", "-c", run, "--workers", "1")
    assert ended.status == 0, ended.err
