"""`vidlstm spans`: rows, documents, exit statuses, resuming; real runs on tiny films."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest

import vidlstm as vidlstm_package
from tests.cli.conftest import COMMAND, vidlstm
from tests.cli.shell import TrainedRun
from tests.films import write_film
from tests.tiny import write_action
from vidlstm.cli.console import Console
from vidlstm.cli.rows.films.extras import Extras
from vidlstm.cli.rows.films.paths import FilmPaths
from vidlstm.cli.rows.films.videos import FilmVideos
from vidlstm.cli.rows.formats.documents import DocumentFormat, to_document
from vidlstm.data.annotations.formats import read_annotations
from vidlstm.engine.prediction import sources
from vidlstm.engine.prediction.film_files import FilmFiles
from vidlstm.engine.prediction.films import LabelledFilm
from vidlstm.engine.prediction.sources import Readers, open_readers
from vidlstm.errors import UsageError
from vidlstm.metrics.segments import count_matches
from vidlstm.records import FilmSpans, Span
from vidlstm.settings import MachineSettings

MACHINE = ("--workers", "1", "--backend", "torch")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Span]]:
    """A film by a performer who is in none of the training films, and its true spans."""
    path = tmp_path_factory.mktemp("new") / "new.avi"
    return path, write_film(path, 9)


@pytest.fixture(scope="module")
def rows(film: tuple[Path, list[Span]], film_run: Path) -> list[str]:
    outcome = vidlstm("spans", film[0], "--checkpoint", film_run, *MACHINE)
    assert outcome.status == 0, outcome.err
    return outcome.lines


def test_a_row_for_each_span_of_a_new_film(film: tuple[Path, list[Span]], rows: list[str]) -> None:
    path, truth = film
    cells = [row.split("\t") for row in rows]
    assert {c[0] for c in cells} == {str(path)}
    found = [Span(float(c[1]), float(c[2]), c[3], float(c[4])) for c in cells]
    assert count_matches(truth, found, 0.5).f1 == 1.0


def test_formats_of_rows(film: tuple[Path, list[Span]], rows: list[str], film_run: Path) -> None:
    def run(name: str) -> list[str]:
        return vidlstm("spans", film[0], "-c", film_run, "-f", name, *MACHINE).lines

    first = rows[0].split("\t")
    lines = run("csv")
    assert lines[0] == "path,start,end,label,score,error"
    assert lines[1] == ",".join([*first, ""])
    row = json.loads(run("jsonl")[0])
    assert set(row) == {"schema", "path", "seconds", "error", "start", "end", "label", "score"}
    assert (row["label"], row["seconds"], row["error"]) == (first[3], 27.0, None)
    table = run("table")
    assert table[0].split() == ["start", "end", "score", "label", "path"]
    assert table[1].split() == [first[1], first[2], first[4], first[3], first[0]]


@pytest.mark.parametrize(
    ("number", "options", "workers"),
    [(1, (), 1), (1, ("--workers", "2"), 2), (2, (), None)],
    ids=["one film", "as asked for", "several films"],
)
def test_all_cores_read_a_single_film(
    number: int,
    options: tuple[str, ...],
    workers: int | None,
    film: tuple[Path, list[Span]],
    film_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[int | None] = []

    def note(machine: MachineSettings) -> AbstractContextManager[Readers]:
        used.append(machine.workers)
        return open_readers(replace(machine, workers=1))

    monkeypatch.setattr(sources, "open_readers", note)
    assert vidlstm("spans", *[film[0]] * number, "-c", film_run, "--backend", "torch", *options).status == 0
    assert used == [workers]


def test_python_gives_the_rows_of_the_command(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    names = [str(film[0]), str(tmp_path / "gone.mp4")]
    outcome = vidlstm("spans", *names, "-c", film_run, "-f", "jsonl", "--min-score", "0.5", *MACHINE)
    with vidlstm_package.load(film_run, backend="torch", workers=1) as model:
        found, failed = model.spans(names, min_score=0.5)
        assert isinstance(found, vidlstm_package.FilmSpans)
        assert isinstance(failed, vidlstm_package.Failure)
        assert [*found.to_json(), failed.to_json()["error"]] == [
            *(json.loads(line) for line in outcome.lines[:-1]),
            json.loads(outcome.lines[-1])["error"],
        ]
        with pytest.raises(UsageError, match="min_duration=-1"):
            model.spans(names, min_duration=-1)


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("srt", "1\n00:00:0"),
        ("vtt", "WEBVTT\n\n00:00:0"),
        ("boris", "Observation id,"),
        ("eaf", "<?xml"),
        ("label-studio", "[\n {"),
        ("activitynet", '{\n "version"'),
    ],
)
def test_one_document_per_film(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path, name: str, beginning: str
) -> None:
    path, _ = film
    outcome = vidlstm("spans", path, "-c", film_run, "-f", name, "--output-dir", tmp_path, *MACHINE)
    assert (outcome.status, outcome.out) == (0, ""), outcome.err
    (document,) = [p for p in tmp_path.rglob("new.*") if p.is_file()]
    text = document.read_text()
    assert text.startswith(beginning)
    assert rows[0].split("\t")[3] in text
    if name in ("boris", "eaf", "label-studio", "activitynet"):
        again = read_annotations([document])
        assert [s.label for s in again.spans] == [row.split("\t")[3] for row in rows]
    before = document.stat().st_mtime_ns
    again_outcome = vidlstm("spans", path, "-c", film_run, "-f", name, "--resume", tmp_path, *MACHINE)
    assert again_outcome.status == 0
    assert document.stat().st_mtime_ns == before
    refused = vidlstm("spans", path, "-c", film_run, "-f", name, "--output-dir", tmp_path, *MACHINE)
    assert refused.status == 2  # the file may have been corrected by hand
    assert f"{document}: already exists; --resume {tmp_path} skips films that are done" in refused.err
    assert document.stat().st_mtime_ns == before


def test_a_shard_overwrites_no_document(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.avi", "b.avi", "c.avi"):
        shutil.copy(film[0], name)
    Path("out").mkdir()
    Path("out/a.srt").write_text("corrected by hand")
    films = ("a.avi", "b.avi", "c.avi")
    command = ("spans", *films, "-c", film_run, "-f", "srt", "--output-dir", "out", *MACHINE)
    outcome = vidlstm(*command, "--shard", "1/2")
    assert outcome.status == 1
    assert outcome.err.count("not written") == 1
    assert (
        "a.avi: document not written: out/a.srt already exists; --resume out skips films that are done"
    ) in outcome.err
    assert Path("out/a.srt").read_text() == "corrected by hand"
    assert sorted(os.listdir("out")) == [".vidlstm.jsonl", "a.srt", "c.srt"]  # noqa: PTH208
    assert vidlstm(*command, "--shard", "2/2").status == 0


@pytest.mark.parametrize("how", ["--output-dir", "--resume"])
def test_a_document_whose_name_is_too_long_is_a_failure_of_its_film(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "n" * 251 + ".avi"
    for name in (long, "short.avi"):
        shutil.copy(film[0], name)
    outcome = vidlstm("spans", long, "short.avi", "-c", film_run, "-f", "label-studio", how, "out", *MACHINE)
    assert outcome.status == 1
    assert outcome.err.count(f"{long}: document not written: out/{'n' * 251}.json: ") == 1
    assert [path.name for path in Path("out").glob("[!.]*")] == ["short.json"]


def test_a_film_has_its_scores_once_however_often_a_run_is_resumed(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    file, rows = tmp_path / "scores.csv", tmp_path / "rows.tsv"
    command = ("spans", film[0], "-c", film_run, "--resume", rows, "--scores", file, *MACHINE)
    assert vidlstm(*command).status == 0
    whole = file.read_bytes()
    rows.write_bytes(b"")  # as after a kill between scores and rows
    assert vidlstm(*command).status == 0
    assert file.read_bytes() == whole
    assert rows.stat().st_size > 0
    refused = vidlstm("spans", film[0], "-c", film_run, "--scores", file, *MACHINE)
    assert (refused.status, refused.err.count("already exists")) == (2, 1)


def test_scores_as_parquet(film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    command = ("spans", film[0], film[0], "-c", film_run, *MACHINE)
    vidlstm(*command, "--scores", tmp_path / "scores.csv")
    outcome = vidlstm(*command, "--scores", tmp_path / "scores.parquet")
    assert outcome.status == 0, outcome.err
    table = parquet.read_table(tmp_path / "scores.parquet")
    lines = list(csv.reader((tmp_path / "scores.csv").read_text().splitlines()))
    assert table.column_names == lines[0]
    assert table["path"].to_pylist() == [line[0] for line in lines[1:]]
    for number, name in enumerate(lines[0][1:], 1):
        wanted = [float(line[number]) for line in lines[1:]]
        assert table[name].to_pylist() == pytest.approx(wanted, abs=0.006)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.csv", "scores.parquet"]


def test_scores_of_every_class_every_half_second(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "scores.csv"
    vidlstm("spans", film[0], "-c", film_run, "--scores", file, *MACHINE)
    lines = list(csv.reader(file.read_text().splitlines()))
    assert lines[0] == ["path", "time", "background", "rise", "sink"]
    times = np.array([float(line[1]) for line in lines[1:]])
    assert times[-1] < 27 <= times[-1] + 0.5
    assert np.diff(times) == pytest.approx(times[0] * 2, abs=0.025)
    sums = np.array([[float(x) for x in line[2:]] for line in lines[1:]]).sum(axis=1)
    assert sums == pytest.approx(np.ones(len(sums)), abs=1e-3)


def test_failures_have_a_row_and_the_rest_continues(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x" * 100)
    still = tmp_path / "still.avi"
    write_film(still, 3, ("rest", "rest", "rest"))
    outcome = vidlstm("spans", bad, still, film[0], "-c", film_run, *MACHINE)
    assert outcome.status == 1
    assert outcome.lines[0] == f"{bad}\t\t\t\t\tnot_a_video"
    assert outcome.lines[1] == f"{still}\t\t\t\t"  # nothing happens
    assert outcome.lines[2].startswith(f"{film[0]}\t")
    assert f"{bad}: not_a_video" in outcome.err


@pytest.mark.parametrize("ending", ["whole", "half a row", "half a film"])
@pytest.mark.parametrize("name", ["rows.tsv", "rows.csv", "rows.jsonl"])
def test_resuming_leaves_every_film_exactly_once(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path, name: str, ending: str
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(2):
        shutil.copy(film[0], folder / f"{number}.avi")
    file = tmp_path / name
    first = vidlstm("spans", folder, "-c", film_run, "--output", file, *MACHINE)
    assert re.search(r"^2 done: (rise|sink) \d+, (rise|sink) \d+$", first.err, re.MULTILINE)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = {"whole": 0, "half a row": 10, "half a film": len(lines[-1]) + 10}[ending]
    file.write_bytes(whole[: len(whole) - cut])
    outcome = vidlstm("spans", folder, "-c", film_run, "--resume", file, *MACHINE)
    assert outcome.status == 0, outcome.err
    assert file.read_bytes() == whole


def test_a_film_that_is_one_clip_long_agrees_with_predict(film_run: Path, tmp_path: Path) -> None:
    for number, action in enumerate(("rise", "sink", "rise")):
        path = write_action(tmp_path / f"{number}.avi", action, 20 + number)
        labelled = json.loads(vidlstm("predict", path, "-c", film_run, "-f", "jsonl", *MACHINE).out)
        found = [line.split("\t") for line in vidlstm("spans", path, "-c", film_run, *MACHINE).lines]
        if labelled["novelty"] > 0.97:  # below, only one may say unknown: they read different moments
            assert labelled["unknown"]
            assert [row[3] for row in found] == [""]
        sure = vidlstm("predict", path, "-c", film_run, "--novelty-rate", "0", *MACHINE).out.split("\t")[1]
        row = vidlstm("spans", path, "-c", film_run, "--novelty-rate", "0", *MACHINE).lines[0].split("\t")
        assert row[1:4] == ["0.00", "1.00", sure]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-duration", "soon"], "--min-duration soon: give seconds, such as 0.5s or 300ms"),
        (["--max-gap", "1m"], "--max-gap 1m: give seconds"),
        (["-f", "srt", "--output", "a.srt"], "--format srt: writes one document per film; use --output-dir"),
        (["--output-dir", "x"], "--output-dir x: needs a format with one document per film: srt, vtt"),
        (["--shard", "3/2"], "--shard 3/2"),
        (["--scores", "no/a.csv"], "no/a.csv: there is no such folder"),
        (
            ["--report", "b.MP4"],
            "--report b.MP4: is not the name of an HTML file; name one, such as report.html",
        ),
        (["--report", "x/a.png"], "--report x/a.png: is not the name of an HTML file; name one, such as x"),
        (
            ["--report", "./film.001"],
            "--report film.001: is an input; name another file, such as report.html",
        ),
        (["--scores", "a.parquet", "--resume", "a.tsv"], "cannot append to Parquet; name a .csv"),
    ],
)
def test_invalid_options(film_run: Path, options: list[str], message: str) -> None:
    outcome = vidlstm("spans", "a.mp4", "film.001", "-c", film_run, *options)
    assert outcome.status == 2
    assert message in outcome.err


def test_documents_of_several_films_need_a_folder(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    message = "--format eaf: writes one document per film; add --output-dir FOLDER"
    for inputs in ([film[0], film[0]], [tmp_path], ["-"], [f"file://{tmp_path}"], ["s3://bucket/films"]):
        outcome = vidlstm("spans", *inputs, "-c", film_run, "-f", "eaf")
        assert (outcome.status, outcome.out) == (2, "")
        assert message in outcome.err
    assert vidlstm("spans", film[0], "-c", film_run, "-f", "eaf", *MACHINE).out.startswith("<?xml")


def test_a_label_is_never_the_arrow_of_subtitles() -> None:
    film = FilmSpans("a.mp4", (Span(0, 1, "--->"), Span(1, 2, "a-->b->c---->>")), 2.0, 25.0)
    assert [line for line in to_document("srt", film).splitlines() if "1.00" in line] == [
        "-> 1.00",
        "a->b->c->> 1.00",
    ]
    assert to_document("vtt", film).count("-->") == to_document("srt", film).count("-->") == 2


def test_a_model_without_windows_is_refused_with_a_hint(model: Path, film: tuple[Path, list[Span]]) -> None:
    outcome = vidlstm("spans", film[0], "-c", model, *MACHINE)
    assert outcome.status == 2
    assert "it has no window lengths; train it again" in outcome.err


def test_a_model_of_clips_warns_that_it_has_no_background_class(
    trained_run: TrainedRun, film: tuple[Path, list[Span]], film_run: Path
) -> None:
    caution = "The model has no class for time without an action, so spans may be wrong there. "
    assert caution in vidlstm("spans", film[0], "-c", trained_run.run, *MACHINE).err
    assert caution not in vidlstm("spans", film[0], "-c", film_run, *MACHINE).err


def test_rules(film: tuple[Path, list[Span]], film_run: Path) -> None:
    assert vidlstm("spans", film[0], "-c", film_run, "--min-duration", "20", *MACHINE).lines == [
        f"{film[0]}\t\t\t\t"
    ]
    assert len(vidlstm("spans", film[0], "-c", film_run, "--min-score", "1", *MACHINE).lines) == 1


def test_predict_says_that_a_film_is_long(film: tuple[Path, list[Span]], film_run: Path) -> None:
    outcome = vidlstm("predict", film[0], film[0], "-c", film_run, *MACHINE)
    assert len(outcome.lines) == 2
    note = f"{film[0]} is 27 s long, much longer than the training clips; use `vidlstm spans` to find"
    assert outcome.err.count(note) == 1


def test_check_names_every_bad_annotation(film: tuple[Path, list[Span]], tmp_path: Path) -> None:
    table = tmp_path / "spans.csv"
    rows = ["3,6,rise", "9,8,rise", "20,40,sink", "5,7,sink"]
    lines = ["path,start,end,label", *(f"{film[0]},{row}" for row in rows), "x.avi,1,2,sink"]
    table.write_text("\n".join(lines) + "\n")
    outcome = vidlstm("check", table, "--json", "--workers", "1")
    notes = json.loads(outcome.out)["notes"]
    assert notes[0] == "3 spans of 2 classes in 1 film (table of spans spans.csv): rise, sink"
    assert sorted(note.split(":")[0] for note in notes[1:]) == [
        "beyond_end",
        "ends_before_start",
        "overlap",
        "unknown_file",
    ]
    assert json.loads(outcome.out)["num_files"] == 1
    assert json.loads(outcome.out)["num_unused_spans"] == 2
    assert json.loads(outcome.out)["num_changed_spans"] == 2
    assert outcome.status == 1
    told = vidlstm("check", table, "--workers", "1")
    assert told.lines[0] == f"{table}: 1 file, table of spans spans.csv"
    assert [line.split() for line in told.lines if line.startswith((" class", " rise", " sink"))] == [
        ["class", "films", "spans", "seconds"],
        ["rise", "1", "1", "3"],
        ["sink", "1", "2", "9"],
    ]
    assert told.lines[-1] == (
        "2 annotations not used, 2 used with a change (see the notes), 0 files unreadable."
    )


def test_a_killed_run_is_resumed_to_every_film_exactly_once(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(6):
        shutil.copy(film[0], folder / f"{number}.avi")
    whole, file = tmp_path / "whole.tsv", tmp_path / "rows.tsv"
    vidlstm("spans", folder, "-c", film_run, "--output", whole, *MACHINE)
    command = [*COMMAND, "spans", str(folder), "-c", str(film_run), "--resume", str(file), *MACHINE]
    for wanted in (1, 3):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and (not file.exists() or len(_films_in(file)) < wanted):
                time.sleep(0.02)
            process.kill()
    assert vidlstm("spans", folder, "-c", film_run, "--resume", file, *MACHINE).status == 0
    assert file.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="pipelines of a Unix shell")
def test_it_ends_silently_when_the_reader_of_its_rows_leaves(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.csv"
    names = [str(film[0])] * 30
    command = [*COMMAND, "spans", *names, "-c", str(film_run), "--scores", str(scores), *MACHINE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""
    times = [line.split(",")[1] for line in scores.read_text().splitlines()[1:]]
    assert len(times) % times.count(times[0]) == 0, "scores of whole films only"


def _films_in(file: Path) -> set[str]:
    return {line.split("\t")[0] for line in file.read_text().splitlines()}


def test_each_span_is_cut_into_a_clip_and_drawn_into_a_copy(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path
) -> None:
    clips, copies = tmp_path / "clips", tmp_path / "copies"
    outcome = vidlstm("spans", film[0], "-c", film_run, "--clips", clips, "--overlay", copies, *MACHINE)
    assert outcome.status == 0, outcome.err
    assert outcome.lines == rows
    cells = [row.split("\t") for row in rows]
    names = sorted(f"{c[3]}/new_{c[1]}-{c[2]}.mp4" for c in cells)
    assert sorted(p.relative_to(clips).as_posix() for p in clips.rglob("*.mp4")) == names
    for _, start, end, label, _ in cells:
        with av.open(str(clips / label / f"new_{start}-{end}.mp4")) as container:
            count = sum(1 for _ in container.decode(video=0))
        assert count == pytest.approx(8 * (float(end) - float(start)), abs=1)
    (copy,) = copies.rglob("*.mp4")
    with av.open(str(copy)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 27 * 8
    middle = round(4 * (float(cells[0][1]) + float(cells[0][2])))
    inside, before = frames[middle], frames[0]
    assert inside[:12, :24].std() > before[:12, :24].std()  # a label is drawn there


def test_a_clip_that_cannot_be_written_is_counted_and_its_row_is_kept(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path
) -> None:
    first = rows[0].split("\t")
    taken = tmp_path / first[3] / f"new_{first[1]}-{first[2]}.mp4"
    taken.mkdir(parents=True)  # a folder cannot be replaced by a file
    outcome = vidlstm("spans", film[0], "-c", film_run, "--clips", tmp_path, *MACHINE)
    assert (outcome.status, outcome.lines) == (1, rows)
    assert outcome.err.count("clip not written") == 1
    assert f"{film[0]}: clip not written: {taken} cannot be written: " in outcome.err
    assert len([p for p in tmp_path.rglob("*.mp4") if p.is_file()]) == len(rows) - 1


def test_a_report_shows_every_film_with_thumbnails_of_its_spans(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x" * 100)
    page = tmp_path / "new" / "spans.html"
    outcome = vidlstm("spans", film[0], bad, "-c", film_run, "--report", page, *MACHINE)
    assert (outcome.status, outcome.lines[:-1]) == (1, rows)
    text = page.read_text()
    assert text.count("<img ") == len(rows)
    for row in rows:
        _, start, end, label, _ = row.split("\t")
        assert f"<title>{label} {start} to {end} s, score" in text
    assert text.count("<polyline ") == 3  # rise, sink and background
    assert "not_a_video: " in text


@pytest.mark.parametrize("kind", ["--clips", "--overlay"])
def test_a_folder_that_cannot_be_made_loses_no_rows(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path, kind: str
) -> None:
    taken = tmp_path / "file"
    taken.touch()
    outcome = vidlstm("spans", film[0], "-c", film_run, kind, taken, *MACHINE)
    assert (outcome.status, outcome.lines) == (1, rows)
    number = len(rows) if kind == "--clips" else 1
    assert outcome.err.count(f"{kind[2:].rstrip('s')} not written: {taken}") == number


def test_a_file_address_is_that_file(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    outputs = ("--clips", tmp_path / "clips", "--overlay", tmp_path / "copies", "--report", page)
    outcome = vidlstm("spans", f"file://{film[0]}", "-c", film_run, *outputs, *MACHINE)
    assert (outcome.status, outcome.lines) == (0, [f"file://{row}" for row in rows])
    assert len(list((tmp_path / "clips").rglob("*.mp4"))) == len(rows)
    assert len(list((tmp_path / "copies").rglob("new.mp4"))) == 1
    assert outcome.err.splitlines()[-3:] == [
        f"Clips: {len(rows)} in {tmp_path / 'clips'}",
        "Copies: 1 in " + str(tmp_path / "copies"),
        f"Report: {page}",
    ]
    assert page.read_text().count("<img ") == len(rows)


def test_videos_are_not_made_from_films_in_stores(film_run: Path, tmp_path: Path) -> None:
    outcome = vidlstm("spans", "s3://bucket/day.mp4", "-c", film_run, "--clips", tmp_path / "clips")
    assert outcome.status == 2
    assert "s3://bucket/day.mp4: --clips and --overlay need files of this machine" in outcome.err
    record = FilmSpans("s3://bucket/day.mp4", (Span(0, 1, "rise"),) * 3, 2.0, 25.0)
    videos = FilmVideos(Console(), cast("FilmFiles", None), tmp_path / "clips", None, FilmPaths(["-"]))
    videos.take(LabelledFilm(record, None, ()))
    assert videos.failed == 1
    assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize("name", ["boris", "eaf", "label-studio"])
def test_documents_name_the_address_of_a_film(name: DocumentFormat) -> None:
    film = FilmSpans("s3://bucket/day.mp4", (Span(0, 1, "rise"),), 2.0, 25.0)
    assert "s3://bucket/day.mp4" in to_document(name, film)
    assert "/films/day.mp4" in to_document(name, replace(film, path="file:///films/day.mp4"))
    assert "file:/films" not in to_document(name, replace(film, path="file:///films/day.mp4"))


def test_a_copy_never_replaces_a_film(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(film[0], "film.mp4")
    outcome = vidlstm("spans", "film.mp4", "-c", film_run, "--overlay", ".", *MACHINE)
    assert outcome.status == 1
    assert outcome.err.count("film.mp4: overlay not written: film.mp4 may be an input, and is not") == 1
    assert Path("film.mp4").read_bytes() == film[0].read_bytes()


def test_clips_and_copies_in_a_searched_folder_are_no_films(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(film[0], films / "film.mp4")
    made = ("--clips", films / "clips", "--overlay", films / "copies")
    outcomes = [vidlstm("spans", films, "-c", film_run, *made, *MACHINE) for _ in range(2)]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes[1].err
    assert list((films / "copies").rglob("film.mp4"))
    assert outcomes[1].out == outcomes[0].out


@pytest.mark.parametrize(
    ("given", "option", "folder", "example"),
    [
        ("films", "--clips", "films", "films/clips"),
        ("films", "--overlay", "films", "films/overlay"),
        ("films", "--overlay", ".", "films/overlay"),  # copies are in ./films, too
        ("./films", "--overlay", "films/..", "films/overlay"),
        (".", "--overlay", ".", "overlay"),
        ("films/rise", "--clips", "films", "films/rise/clips"),  # clips of "rise" are in films/rise
        ("films/a.b", "--overlay", ".", "films/a.b/overlay"),
    ],
)
def test_no_clips_and_copies_are_where_the_next_run_would_read_them(
    film_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    option: str,
    folder: str,
    example: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("films/rise").mkdir(parents=True)
    Path("films/a.b").mkdir()
    outcome = vidlstm("spans", "films/new.avi", given, "-c", film_run, option, folder, *MACHINE)
    assert outcome.status == 2
    assert (
        f"{option} {folder}: videos written there would be in {given}, and the next run would" in outcome.err
    )
    assert f"name a new folder, such as {example}" in outcome.err
    Extras(None, *_folders(option, Path(example)), None).require_not_searched([given], ["rise"])


@pytest.mark.parametrize(
    ("given", "option", "folder"),
    [
        ("films", "--clips", "."),  # no class is called films
        ("films", "--overlay", "copies"),
        ("films", "--overlay", "films/copies"),
        ("films/new.avi", "--clips", "films"),  # a file: nothing is searched
        ("frames", "--overlay", "."),  # one film
        ("-", "--overlay", "."),
    ],
)
def test_other_folders_of_clips_and_copies_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, option: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("films/new.avi", "frames/0001.jpg", "frames/0002.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Extras(None, *_folders(option, Path(folder)), None).require_not_searched([given], ["rise"])


def _folders(option: str, folder: Path) -> tuple[Path | None, Path | None]:
    return (folder, None) if option == "--clips" else (None, folder)


def test_clips_and_copies_replace_no_file(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path
) -> None:
    """They may be the clips of another film of the same name."""
    other = tmp_path / "other/new.avi"
    other.parent.mkdir()
    shutil.copy(film[0], other)
    clips = tmp_path / "clips"
    command = ("-c", film_run, "--clips", clips, *MACHINE)
    assert vidlstm("spans", film[0], *command).status == 0
    lost, *kept = sorted(clips.rglob("*.mp4"))
    lost.unlink()
    for path in kept:
        path.write_bytes(b"of the first film")
    outcome = vidlstm("spans", other, other, *command)
    assert (outcome.status, outcome.lines) == (0, [row.replace(str(film[0]), str(other)) for row in rows] * 2)
    assert {path.read_bytes() for path in kept} == {b"of the first film"}
    assert lost.stat().st_size > 1000  # what is missing is written
    assert outcome.err.count("existing file") == 1
    assert f"{2 * len(kept)} existing files kept, such as {clips}" in outcome.err


def test_films_of_one_name_have_files_of_their_own(
    film: tuple[Path, list[Span]], rows: list[str], film_run: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "new.avi", tmp_path / "other/new.mkv"
    two.parent.mkdir()
    shutil.copy(film[0], one)
    shutil.copy(film[0], two)
    clips, documents = tmp_path / "clips", tmp_path / "documents"
    outcome = vidlstm("spans", one, two, "-c", film_run, "--clips", clips, *MACHINE)
    assert outcome.status == 0, outcome.err
    assert len(list(clips.rglob("*.mp4"))) == 2 * len(rows)
    three = shutil.copy(film[0], tmp_path / "new.mkv")
    command = ("spans", one, three, "-c", film_run, "-f", "srt")
    assert vidlstm(*command, "--output-dir", documents, "--shard", "2/2", *MACHINE).status == 0
    (first,) = documents.rglob("*.srt")
    assert first.name == "new_2.srt"
    assert vidlstm(*command, "--resume", documents, *MACHINE).status == 0
    assert sorted(path.name for path in documents.rglob("*.srt")) == ["new.srt", "new_2.srt"]


def test_a_document_stays_that_of_its_film_when_a_film_of_the_same_name_arrives(
    film: tuple[Path, list[Span]], film_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("films").mkdir()
    shutil.copy(film[0], "films/a.mkv")
    command = ("spans", "films", "-c", film_run, "-f", "eaf", "--resume", "out", *MACHINE)
    assert vidlstm(*command).status == 0
    before = Path("out/films/a.eaf").read_bytes()
    shutil.copy(film[0], "films/a.avi")  # comes first
    outcome = vidlstm(*command)
    assert outcome.status == 0
    assert "films/a.avi: another film has the name films/a, so the files of this one are named films/a_2" in (
        outcome.err
    )
    assert Path("out/films/a.eaf").read_bytes() == before
    assert b"a.mkv" in before
    assert b"a.avi" in Path("out/films/a_2.eaf").read_bytes()
    assert "0 done" in vidlstm(*command).err
    Path("out/films/a.eaf").unlink()  # is made again, for its film
    assert "1 done" in vidlstm(*command).err
