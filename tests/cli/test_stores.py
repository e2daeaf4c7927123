"""Files in object stores: a real S3 server on this machine, addresses, and downloads ahead of reading."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import QUICK, learned, vidlstm, write_clip
from tests.tiny import write_action
from vidlstm import stores
from vidlstm.cli.rows.inputs import Search, expand
from vidlstm.engine.extraction import fetching
from vidlstm.engine.extraction.fetching import Fetcher, Local
from vidlstm.engine.precision.clips import read_clips, run_files
from vidlstm.errors import FailureCode, InputError, UsageError
from vidlstm.models.checkpoint import load_model
from vidlstm.stores import address_of, is_address, refuse_passwords, to_path

SECRET = "very-secret-key"


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a/b.mp4",
        "s3://bucket/a//b.mp4",
        "gs://b/./x/../y.mp4",
        "https://host:8080/a b.mp4?x=1",
        "hf://d/a",
    ],
)
def test_an_address_is_unchanged_as_a_path(address: str) -> None:
    assert is_address(address)
    assert address_of(to_path(address)) == address


@pytest.mark.parametrize(
    "name", ["a.mp4", "/s3:/a.mp4", "s3:x.mp4", "ssh://host/a.mp4", "zip://a::s3://b/c", "C:/a"]
)
def test_other_names_are_files(name: str) -> None:
    assert not is_address(name)
    assert address_of(to_path(name)) is None
    assert to_path(name) == Path(name)


@pytest.mark.parametrize("address", [f"https://me:{SECRET}@host/a.mp4", f"https://me:1@{SECRET}@host/a.mp4"])
def test_a_password_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError, match="contains a password") as raised:
        refuse_passwords(address)
    assert SECRET not in str(raised.value)


def test_a_password_on_standard_input_is_masked_and_nothing_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("https://me:{}@localhost:1/a.mp4", "rtsp://me:{}@camera/1", "a:b@c.mp4", "s3://bucket/a@b:c.mp4")
    file = tmp_path / "names.txt"
    file.write_text("\n".join(names).format(SECRET, SECRET))
    with file.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        read = list(expand(["-"], Search("video")))
    assert read == [name.format("***") for name in names]
    with pytest.raises(InputError, match="a password") as raised:
        stores.size_of(read[0])
    assert raised.value.code == "read_error"


def test_a_camera_password_with_a_slash_is_masked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text(f"rtsp://me:1/{SECRET}@camera/1\n")
    with file.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        (name,) = expand(["-"], Search("video"))
    assert name == "rtsp://me:***"


def test_spans_refuses_a_password_and_a_camera(model: Path) -> None:
    for name, message in ((f"https://me:{SECRET}@host/a.mp4", "contains a password"), ("0", "is a camera")):
        ended = vidlstm("spans", "-c", model, name)
        assert (ended.status, message in ended.err, SECRET in ended.err) == (2, True, False)


def test_messages_of_a_library_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"signed with {SECRET}")

    monkeypatch.setattr(stores, "_open", fail)
    with pytest.raises(InputError) as raised:
        stores.size_of("s3://bucket/a.mp4")
    assert raised.value.message == "cannot be downloaded (RuntimeError)"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match=r"pip install 'vidlstm\[cloud\]'"):
        stores.is_folder("s3://bucket/clips")


class TestFetcher:
    @pytest.fixture
    def fetched(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Fake downloads of ten bytes each; return the list of downloaded files."""
        done: list[str] = []

        def fetch(address: str, target: Path, _: int) -> None:
            if "missing" in address:
                raise InputError(address, FailureCode.NOT_FOUND, "no such file in the store")
            target.write_bytes(b"0123456789")
            done.append(address)

        monkeypatch.setattr(fetching, "fetch", fetch)
        monkeypatch.setattr(fetching, "size_of", lambda _: 10)
        return done

    def test_keeps_the_order_and_removes_files_after_reading(self, fetched: list[str]) -> None:
        fetcher = Fetcher(100)
        names = [f"s3://b/{n}{'missing' if n == 5 else ''}.mp4" for n in range(40)] + ["local.mp4"]
        seen: list[Local[str]] = []
        for local in fetcher.ahead(names, to_path):
            if local.fetched is not None:
                assert isinstance(local.path, Path)
                assert local.path.read_bytes() == b"0123456789"
            fetcher.release(local)
            seen.append(local)
        assert [local.item for local in seen] == names
        assert isinstance(seen[5].path, InputError)
        assert seen[-1].path == Path("local.mp4")
        assert len(fetched) == 39
        assert fetcher._folder is not None
        assert list(fetcher._folder.iterdir()) == []

    def test_respects_the_space_limit(self, fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetching, "_ROOM", 25)
        fetcher = Fetcher(100)
        most = 0
        for local in fetcher.ahead([f"s3://b/{n}.mp4" for n in range(20)], to_path):
            assert fetcher._folder is not None
            most = max(most, sum(1 for _ in fetcher._folder.iterdir()))
            fetcher.release(local)
        assert 1 <= most <= 2

    def test_a_file_that_is_too_large_is_not_downloaded(self, fetched: list[str]) -> None:
        (local,) = Fetcher(5).ahead(["s3://b/0.mp4"], to_path)
        assert isinstance(local.path, InputError)
        assert local.path.code is FailureCode.TOO_LARGE
        assert fetched == []


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket with clips on a local S3 server; return its address."""
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs: pip install 'vidlstm[cloud]'")
    moto = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    folder = tmp_path_factory.mktemp("bucket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = s3fs.S3FileSystem(skip_instance_cache=True)
        system.mkdir("bucket")
        for seed, name in enumerate(("clips/a.mp4", "clips/sub/b c.mp4", "clips/#1.mp4", "odd//double.mp4")):
            system.put_file(str(write_clip(folder / f"{seed}.mp4", seed=seed)), f"bucket/{name}")
        system.pipe_file("bucket/clips/notes.txt", b"no clip")
        system.pipe_file("bucket/clips/empty.mp4", b"")
        system.put(f"{write_data(folder / 'data')}/", "bucket/data/", recursive=True)
        yield "s3://bucket"
    server.stop()


def write_data(folder: Path) -> Path:
    """Write ten clips of each of two classes, and a table of them with a name other than `labels.csv`."""
    names = [f"{action}/{n}.avi" for action in ("rise", "sink") for n in range(10)]
    for name in names:
        action, _, number = name.partition("/")
        write_action(folder / name, action, int(number.removesuffix(".avi")))
    lines = (f"{name},{name.partition('/')[0]}\n" for name in names)
    (folder / "table.csv").write_text("path,label\n" + "".join(lines))
    return folder


def fetched_files() -> list[Path]:
    """Return the downloaded files that still exist."""
    own = f"{fetching._PREFIX}{os.getpid()}-*"
    return [file for folder in Path(tempfile.gettempdir()).glob(own) for file in folder.iterdir()]


@pytest.mark.filterwarnings("ignore")  # warnings of the server and its client
class TestS3:
    def test_a_folder_gives_the_rows_of_its_files(self, bucket: str, model: Path, tmp_path: Path) -> None:
        command = ("predict", "-c", model, "--workers", "1")
        ended = vidlstm(*command, f"{bucket}/clips/", f"{bucket}/clips/no.mp4")
        rows = [line.split("\t") for line in ended.lines]
        named = ("#1.mp4", "a.mp4", "empty.mp4", "sub/b c.mp4", "no.mp4")
        assert [row[0] for row in rows] == [f"{bucket}/clips/{name}" for name in named]
        codes = {row[0].rpartition("/")[2]: row[3] for row in rows if len(row) > 3}
        assert codes == {"empty.mp4": "empty_file", "no.mp4": "not_found"}
        assert ended.status == 1
        assert SECRET not in ended.out + ended.err
        local = write_clip(tmp_path / "a.mp4", seed=0)
        assert vidlstm(*command, local).lines[0].split("\t")[1:] == rows[1][1:]
        assert fetched_files() == []

    def test_an_unknown_bucket_is_an_error_without_secrets(self, bucket: str, model: Path) -> None:
        ended = vidlstm("predict", "-c", model, "s3://nowhere/clips/")
        assert ended.status == 2
        assert "s3://nowhere/clips" in ended.err
        assert SECRET not in ended.err

    def test_a_key_with_an_empty_name_in_it_is_found(self, bucket: str, model: Path) -> None:
        ended = vidlstm("predict", "-c", model, "--workers", "1", f"{bucket}/odd//double.mp4")
        assert ended.status == 0, ended.err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
class TestDataInS3:
    @pytest.fixture(scope="class")
    def run(self, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A run trained on clips in the bucket. Read-only."""
        folder = tmp_path_factory.mktemp("store_run") / "1"
        ended = vidlstm("train", f"{bucket}/data/", "--out", folder, *QUICK)
        assert ended.status == 0, ended.err
        assert f"{bucket}/data: 20 clips of 2 classes, 10 each (class folders in a store)." in ended.err
        assert SECRET not in ended.err
        assert fetched_files() == []
        return folder

    def test_training_equals_that_on_a_local_copy(self, run: Path, bucket: str, tmp_path: Path) -> None:
        data, folder = write_data(tmp_path / "data"), tmp_path / "run"
        assert vidlstm("train", data, "--out", folder, *QUICK).status == 0
        assert (run / "split.csv").read_bytes() == (folder / "split.csv").read_bytes()
        assert learned(run) == learned(folder)
        theirs = (run / "predictions.csv").read_text()
        assert theirs.replace(f"{bucket}/data", f"{data}") == (folder / "predictions.csv").read_text()
        assert 'src="data:image/jpeg' in (run / "report.html").read_text()  # thumbnails of clips in the store
        assert not [f for f in run.iterdir() if SECRET.encode() in f.read_bytes()]

    def test_features_are_stored_and_clips_downloaded_once(
        self, run: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fetch(address: str, target: Path, max_bytes: int) -> None:
            raise AssertionError(f"{address} is fetched again")

        monkeypatch.setattr(fetching, "fetch", fetch)
        ended = vidlstm("crossval", f"{bucket}/data/table.csv", "--folds", "2", *QUICK)
        assert ended.status == 0, ended.err

    def test_the_nodes_of_a_cluster_download_their_files(
        self, run: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("ray", reason="needs Ray: pip install 'vidlstm[ray]'")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        command = ("crossval", f"{bucket}/data", "--folds", "2", "--json", *QUICK)
        plain = vidlstm(*command)
        monkeypatch.setattr(fetching, "fetch", None)  # in this process
        ended = vidlstm(*command, "--no-cache", "--ray", "local")
        assert ended.status == 0, ended.err
        assert ended.out == plain.out
        assert SECRET not in ended.err

    def test_a_training_is_resumed(self, run: Path, bucket: str) -> None:
        ended = vidlstm("train", f"{bucket}/data", "--resume", run, "--workers", "1")
        assert ended.status == 0, ended.err

    def test_a_run_from_somebody_else_makes_no_requests(self, run: Path, bucket: str) -> None:
        trained = load_model(run / "model.safetensors")
        assert run_files(trained, run, "val").paths == ()
        own = run_files(trained, run, "val", in_stores=True)  # as at the end of training
        assert own.paths
        assert all(str(path).startswith(f"{bucket}/data/") for path in own.paths)
        assert all(clip is not None for _, clip in read_clips(trained, own))

    def test_eval_scores_the_held_out_clips(self, run: Path, bucket: str) -> None:
        ended = vidlstm("eval", f"{bucket}/data", "-c", run, "--workers", "1")
        assert ended.status == 0, ended.err
        assert f"Scored: the val subset of {run / 'split.csv'}" in ended.err

    def test_eval_of_a_local_copy_recognises_the_clips(self, run: Path, tmp_path: Path) -> None:
        data = write_data(tmp_path / "data")
        ended = vidlstm("eval", data, "-c", run, "--split", "all", "--workers", "1")
        assert "the model was trained on" in ended.err

    def test_a_local_table_may_list_clips_in_the_bucket_and_a_missing_one(
        self, run: Path, bucket: str, tmp_path: Path
    ) -> None:
        table = tmp_path / "clips.csv"
        names = ("rise/0.avi,rise", "rise/no.avi,rise", "sink/0.avi,sink")
        table.write_text("path,label\n" + "".join(f"{bucket}/data/{name}\n" for name in names))
        ended = vidlstm("eval", table, "-c", run, "--split", "all", "--workers", "1", "--json")
        assert ended.status == 1, ended.err
        assert f"{bucket}/data/rise/no.avi: not_found: no such file in the store" in ended.err
        assert f'"path": "{bucket}/data/rise/no.avi"' in ended.out

    @pytest.mark.parametrize("command", ["train", "crossval"])
    def test_an_unknown_folder_is_an_error(self, bucket: str, command: str) -> None:
        ended = vidlstm(command, f"{bucket}/nothing/")
        assert ended.status == 2
        assert f"{bucket}/nothing: cannot be listed: no such file in the store" in ended.err

    def test_check_refuses_addresses_in_one_line(self, bucket: str, tmp_path: Path) -> None:
        ended = vidlstm("check", f"{bucket}/data/")
        assert ended.status == 2
        assert ended.err == (
            f"vidlstm: {bucket}/data: check reads files of this machine; copy the clips, or some of them\n"
        )
        table = tmp_path / "clips.csv"
        table.write_text(f"path,label\n{bucket}/data/rise/0.avi,a\n{bucket}/data/sink/0.avi,b\n")
        ended = vidlstm("check", table)
        assert ended.status == 2
        assert f"{bucket}/data/rise/0.avi: check reads files of this machine" in ended.err

    def test_a_password_in_an_address_is_not_repeated(self, model: Path) -> None:
        for command in (("train",), ("crossval",), ("eval", "-c", model)):
            ended = vidlstm(*command, f"https://me:{SECRET}@host/data/")
            assert ended.status == 2
            assert "contains a password" in ended.err
            assert SECRET not in ended.err


def test_file_addresses_are_files_of_this_machine(clips: Path, model: Path) -> None:
    ended = vidlstm("predict", "-c", model, "--workers", "1", f"file://{clips}")
    plain = vidlstm("predict", "-c", model, "--workers", "1", clips)
    assert ended.lines == [f"file://{line}" for line in plain.lines]
    assert vidlstm("check", f"file://{clips}").out == vidlstm("check", clips).out
