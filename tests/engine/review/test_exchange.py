"""Label Studio and CVAT: their exports are read back as decisions."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from PIL import Image

from vidlstm.engine.review.answers import read_decisions
from vidlstm.engine.review.apply import apply_decisions
from vidlstm.engine.review.cvat import to_archive
from vidlstm.engine.review.decisions import Decision
from vidlstm.engine.review.items import ReviewItem, ReviewList
from vidlstm.engine.review.label_studio import document_root, to_interface, to_tasks
from vidlstm.errors import DataError

ODD = 'odd & "name" #1, 100 %.png'
CLASSES = ("cat", 'a "big" <dog>')


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("cat/1.png", f"cat/{ODD}", "train/cat/3.png"):
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (200, 100, 50)).save(file)
    return tmp_path / "data"


def review(data: Path) -> ReviewList:
    items = (
        ReviewItem(f"cat/{ODD}", "cat", CLASSES[1], 0.9, subset="val"),
        ReviewItem("cat/1.png", "cat", ""),
    )
    return ReviewList(items, CLASSES)


def answer(task: dict[str, Any], *choices: str, **more: object) -> dict[str, Any]:
    """Return a task as Label Studio exports it."""
    result = [
        {"from_name": "decision", "to_name": "clip", "type": "choices", "value": {"choices": [*choices]}}
    ]
    annotation = {"id": 1, "completed_by": 1, "was_cancelled": False, "result": result, **more}
    return {"id": 7, "annotations": [annotation], "data": task["data"], "predictions": []}


class TestLabelStudio:
    def tasks(self, data: Path) -> Any:
        return json.loads(to_tasks(review(data), data))

    def test_a_task_has_the_suggestion_as_a_prediction(self, data: Path) -> None:
        first, second = self.tasks(data)
        [prediction] = first["predictions"]
        assert prediction["score"] == 0.9
        assert prediction["result"][0]["value"] == {"choices": [CLASSES[1]]}
        assert second["predictions"] == []
        assert (
            first["data"]["file"] == "/data/local-files/?d=odd%20%26%20%22name%22%20%231%2C%20100%20%25.png"
        )

    def test_a_clip_may_be_named_by_its_address(self, data: Path) -> None:
        named = ReviewList((ReviewItem(f"file://{data}/cat/1.png"),), CLASSES)
        assert document_root(named, Path("elsewhere")) == data / "cat"

    def test_the_interface_offers_the_classes(self, data: Path) -> None:
        tree = ElementTree.fromstring(to_interface(review(data)))
        assert [choice.get("value") for choice in tree.iter("Choice")] == list(CLASSES)
        assert [image.get("value") for image in tree.iter("Image")] == ["$file"]

    def test_answers_are_decisions(self, data: Path, tmp_path: Path) -> None:
        first, second = self.tasks(data)
        file = tmp_path / "export.json"
        file.write_text(json.dumps([answer(first, "cat"), {**second, "annotations": []}]))
        assert read_decisions(file) == [Decision(f"cat/{ODD}", "cat", "cat", subset="val")]

    def test_the_compact_export_is_supported(self, data: Path, tmp_path: Path) -> None:
        file = tmp_path / "export.json"
        compact = [
            {**task["data"], "id": n, "decision": CLASSES[1]} for n, task in enumerate(self.tasks(data))
        ]
        file.write_text(json.dumps(compact))
        assert [d.decision for d in read_decisions(file)] == [CLASSES[1]] * 2

    def test_a_span_keeps_its_times(self, data: Path, tmp_path: Path) -> None:
        items = (ReviewItem("cat/1.png", "cat", "dog", 0.9, start=1.5, end=2.25),)
        [task] = json.loads(to_tasks(ReviewList(items, ("cat", "dog")), data))
        (tmp_path / "export.json").write_text(json.dumps([answer(task, "dog")]))
        assert read_decisions(tmp_path / "export.json") == [
            Decision("cat/1.png", "cat", "dog", "1.5", "2.25")
        ]

    def test_spaces_belong_to_a_path(self, data: Path, tmp_path: Path) -> None:
        [task] = json.loads(to_tasks(ReviewList((ReviewItem(" lead.avi "),), CLASSES), data))
        (tmp_path / "export.json").write_text(json.dumps([answer(task, "cat")]))
        assert [d.path for d in read_decisions(tmp_path / "export.json")] == [" lead.avi "]

    def test_skipped_tasks_are_not_answers(self, data: Path, tmp_path: Path) -> None:
        file = tmp_path / "export.json"
        file.write_text(json.dumps([answer(self.tasks(data)[0], "cat", was_cancelled=True)]))
        with pytest.raises(DataError, match="holds no decisions"):
            read_decisions(file)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('[{"data": {"video": "a.mp4"}}]', r"task 1: not from `vidlstm review`.*vidlstm train"),
            (
                '[{"data": {"path": "a"}, "decision": {"choices": ["x", "y"]}}]',
                "task 1: a has several labels, x, y",
            ),
            ("[1, 2]", "task 1: not from"),
            ('[{"data": {"path": ""}, "decision": "x"}]', "task 1: not from"),
            ('[{"data": {"path": 3}, "decision": "x"}]', "task 1: not from"),
            ("[[[", "not valid JSON"),
        ],
    )
    def test_other_files_are_refused_by_name(self, content: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "export.json").write_text(content)
        with pytest.raises(DataError, match=rf"export\.json.*{message}"):
            read_decisions(tmp_path / "export.json")


class TestCvat:
    def archive(self, data: Path, *items: ReviewItem) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(to_archive(CLASSES, items or review(data).items, data)))

    def test_has_a_tagged_picture_of_each_clip(self, data: Path) -> None:
        with self.archive(data) as archive:
            tree = ElementTree.fromstring(archive.read("annotations.xml"))
            images = list(tree.iter("image"))
            assert [[tag.get("label") for tag in image] for image in images] == [[CLASSES[1]], []]
            assert [name.text for name in tree.iter("name")] == list(CLASSES)
            for image in images:
                picture = Image.open(io.BytesIO(archive.read(f"images/{image.get('name')}")))
                assert picture.size == (int(image.get("width", 0)), int(image.get("height", 0)))

    def test_unchanged_archives_come_back_as_decisions(self, data: Path, tmp_path: Path) -> None:
        file = tmp_path / "export.zip"
        file.write_bytes(to_archive(CLASSES, review(data).items, data))
        assert read_decisions(file) == [Decision(f"cat/{ODD}", "", CLASSES[1])]

    def test_changed_tags_move_files_between_class_folders(self, data: Path, tmp_path: Path) -> None:
        items = (ReviewItem("cat/1.png", "cat", "dog"), ReviewItem(f"cat/{ODD}", "cat", "cat"))
        with self.archive(data, *items) as archive:
            (tmp_path / "annotations.xml").write_bytes(archive.read("annotations.xml"))
        decisions = read_decisions(tmp_path / "annotations.xml")
        applied = apply_decisions(decisions, data, tmp_path / "undo.csv")
        assert (applied.changed, applied.kept, applied.problems) == (1, 1, ())
        assert (data / "dog/1.png").exists()
        apply_decisions(read_decisions(tmp_path / "undo.csv"), data, tmp_path / "redo.csv")
        assert (data / "cat/1.png").exists()

    @pytest.mark.parametrize("order", [1, -1])
    def test_tags_of_pieces_change_a_table_of_spans_as_the_page_does(
        self, order: int, tmp_path: Path
    ) -> None:
        (tmp_path / "film.avi").touch()
        table = tmp_path / "spans.csv"
        table.write_text("path,start,end,label,split\nfilm.avi,0,20,walk,test\n")
        tags = {"0.0,10.0": "walk", "10.0,20.0": "run", "20.0,25.0": "background", "25.0,30.0": "sit"}
        names = {quote(f"{tmp_path}/film.avi#t={times}", safe=""): label for times, label in tags.items()}
        images = [f'<image name="{name}.jpg"><tag label="{tag}"/></image>' for name, tag in names.items()]
        (tmp_path / "a.xml").write_text(f"<annotations>{''.join(images[::order])}</annotations>")
        applied = apply_decisions(read_decisions(tmp_path / "a.xml"), table, tmp_path / "new.csv")
        assert (applied.changed, applied.kept, applied.added, applied.problems) == (1, 2, 1, ())
        assert applied.held_out == 2
        assert (tmp_path / "new.csv").read_text().splitlines()[1:] == [
            "film.avi,0,10.0,walk,test", "film.avi,10.0,20,run,test", "film.avi,25.0,30.0,sit,test",
        ]  # fmt: skip

    def test_a_clip_may_be_named_by_its_address(self, data: Path) -> None:
        with self.archive(data, ReviewItem(f"file://{data}/cat/1.png")) as archive:
            assert len(archive.namelist()) == 2

    def test_clips_that_cannot_be_read_are_left_out(self, data: Path) -> None:
        with self.archive(data, ReviewItem("gone.mp4"), ReviewItem("cat/1.png")) as archive:
            assert len(archive.namelist()) == 2
        with pytest.raises(DataError, match="none of the clips can be read"):
            self.archive(data, ReviewItem("gone.mp4"))

    @pytest.mark.parametrize(
        ("name", "path", "start", "end"),
        [
            ("cam/day%20%231.mp4%23t%3D1.5%2C2.25.jpg", "day #1.mp4", "1.5", "2.25"),
            ("clip%23t%3Dtake1.mp4.jpg", "clip#t=take1.mp4", "", ""),
            ("clip%23t%3Dtake1.mp4%23t%3D1e-05%2C2.jpg", "clip#t=take1.mp4", "1e-05", "2"),
        ],
    )
    def test_a_span_keeps_its_times(self, name: str, path: str, start: str, end: str, tmp_path: Path) -> None:
        text = f'<annotations><image name="{name}"><tag label="wave"/></image></annotations>'
        (tmp_path / "annotations.xml").write_text(text)
        assert read_decisions(tmp_path / "annotations.xml") == [Decision(path, "", "wave", start, end)]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "declares a document type"),
            ("<annotations>", "not valid XML"),
            ("<annotations/>", "holds no decisions"),
            (
                '<a><image name="x.jpg"><tag label="u"/><tag label="v"/></image></a>',
                "x has several labels, u, v",
            ),
            ('<a><image name=".jpg"><tag label="u"/></image></a>', "is not from `vidlstm review`"),
        ],
    )
    def test_other_files_are_refused_by_name(self, content: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "a.xml").write_text(content)
        with pytest.raises(DataError, match=rf"a\.xml: .*{message}"):
            read_decisions(tmp_path / "a.xml")

    def test_another_archive_is_named(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("labels.txt", "x")
        with pytest.raises(DataError, match=r"a\.zip: no archive of CVAT"):
            read_decisions(tmp_path / "a.zip")

    def test_a_damaged_archive_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "a.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("annotations.xml", "<annotations/>" * 100)
        content = bytearray(file.read_bytes())
        begin = 30 + len("annotations.xml")  # after the local header
        content[begin : begin + 8] = b"\xff" * 8
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.zip: no archive of CVAT"):
            read_decisions(file)
