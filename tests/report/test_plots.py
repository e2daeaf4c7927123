"""Plots are complete PNG files for any number and names of classes."""

import io
import re
from dataclasses import replace

import pytest
from PIL import Image

from tests.report.made import make_epochs, make_report, numbered
from vidlstm.metrics.classification import calibration
from vidlstm.report.plots import confusion_png, curves_png, curves_svg, reliability_png, reliability_svg


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.width, image.height


@pytest.mark.parametrize("number", [2, 6, 101])
def test_every_class_of_a_confusion_matrix_has_room_for_its_name(number: int) -> None:
    width, height = _size(confusion_png(make_report(2 * number, numbered(number))))
    assert min(width, height) >= 20 * number


def test_a_large_matrix_is_drawn_at_a_lower_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidlstm.report.plots._MAX_PIXELS", 900)
    assert max(_size(confusion_png(make_report(120, numbered(60))))) in (899, 900, 901)


def test_labels_are_not_parsed_as_mathematics_and_any_script_is_drawn() -> None:
    assert _size(confusion_png(make_report(12, ["$x_", "\udcff\n", "跳跃", "$a$"])))


def test_curves_of_one_epoch_and_without_validation() -> None:
    assert _size(curves_png(make_epochs(40)))
    assert _size(curves_png(make_epochs(1)))
    assert _size(curves_png([replace(e, val_loss=None, val_top1=None) for e in make_epochs(3)]))


def test_reliability_with_and_without_the_uncalibrated_model() -> None:
    assert _size(reliability_png(make_report()))
    assert _size(reliability_png(make_report(temperature=None)))


def test_plots_without_readable_clips() -> None:
    nothing = make_report(6, num_failed=6)
    assert _size(confusion_png(nothing))
    assert _size(reliability_png(nothing))


def test_plots_of_the_page_follow_its_theme_and_need_no_inline_style() -> None:
    for drawn in (curves_svg(make_epochs()), reliability_svg(make_report())):
        assert "style" not in drawn  # which the page's policy forbids
        assert re.findall("#[0-9a-f]{6}", drawn) == []
        assert "var(--blue)" in drawn
        assert 'role="img"' in drawn


def test_plots_of_one_page_have_unique_ids() -> None:
    names = re.findall(r'\bid="(.*?)"', curves_svg(make_epochs()) + reliability_svg(make_report()))
    assert len(names) == len(set(names)) > 0


def test_losses_that_are_not_comparable_have_separate_axes() -> None:
    assert curves_svg(make_epochs()).count("<svg") == 3
    without = [replace(e, val_loss=None, val_top1=None) for e in make_epochs(3)]
    assert curves_svg(without).count("<svg") == 1
    diverged = [replace(e, train_loss=float("nan")) for e in make_epochs(3)]
    assert curves_svg(diverged).count("<svg") == 3


def test_points_of_the_reliability_diagram_tell_their_number_of_clips() -> None:
    report = make_report()
    drawn = reliability_svg(report)
    for b in calibration(report):
        assert f">{b.num_clips}</text>" in drawn
