"""A window that shows a live source with the current label."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from vidlstm.errors import UsageError
from vidlstm.media.opencv import cv2
from vidlstm.media.overlay import colours_of, draw_text
from vidlstm.media.video.base import Image

_TITLE = "vidlstm"
_ENDS = (ord("q"), 27)  # q and Escape
_TRY = "import cv2; cv2.namedWindow('vidlstm'); cv2.waitKey(1)"
_TRY_SECONDS = 20.0


class Window:
    """A preview window; may only be used in the main thread.

    Args:
        labels: Labels that may be shown.

    Raises:
        UsageError: There is no display, or this build of OpenCV has no windows.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UsageError("`show=True`: there is no display; leave it out, or set DISPLAY")
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")  # irrelevant warnings about fonts
        # If the display does not respond, the GUI library aborts the process: try it in a subprocess first.
        tried = subprocess.run(
            [sys.executable, "-c", _TRY],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TRY_SECONDS,
            check=False,
        )
        if tried.returncode:
            raise UsageError(
                "`show=True`: OpenCV cannot open a window; the display does not respond, or "
                "opencv-python-headless is installed, which does not support windows"
            )
        self._colours = colours_of(labels)
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def show(self, image: Image, label: str | None) -> bool:
        """Show a frame; return False once the window has been closed.

        Args:
            image: `(H, W, 3)` uint8 BGR.
            label: Label to draw; None for none.
        """
        if label is not None:
            drawn = draw_text(np.ascontiguousarray(image[..., ::-1]), label, self._colours[label])
            image = np.ascontiguousarray(drawn[..., ::-1])
        cv2.imshow(_TITLE, image)
        key = cv2.waitKey(1) & 0xFF
        return key not in _ENDS and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
