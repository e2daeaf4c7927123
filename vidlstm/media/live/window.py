"""A window that shows a live source, with the label of what happens drawn in."""

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
    """A window; of the main thread.

    Args:
        labels: That may be drawn in.

    Raises:
        UsageError: There is no display, or this OpenCV has no windows.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UsageError("`show=True`: there is no display; leave it out, or set DISPLAY")
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")  # Qt misses fonts that nobody asks for
        # Where a display does not answer, the library of the windows ends its process: in another one first.
        tried = subprocess.run(
            [sys.executable, "-c", _TRY],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TRY_SECONDS,
            check=False,
        )
        if tried.returncode:
            raise UsageError(
                "`show=True`: OpenCV cannot open a window here; the display does not answer, or "
                "opencv-python-headless is installed, which has none"
            )
        self._colours = colours_of(labels)
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def show(self, image: Image, label: str | None) -> bool:
        """Show a frame; return False once the window was closed.

        Args:
            image: `(H, W, 3)` uint8 BGR.
            label: To be drawn in.
        """
        if label is not None:
            drawn = draw_text(np.ascontiguousarray(image[..., ::-1]), label, self._colours[label])
            image = np.ascontiguousarray(drawn[..., ::-1])
        cv2.imshow(_TITLE, image)
        key = cv2.waitKey(1) & 0xFF
        return key not in _ENDS and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close it."""
        cv2.destroyAllWindows()
