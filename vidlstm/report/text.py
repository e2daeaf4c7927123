"""Text that the tool did not write (file names, labels), made fit to be shown."""

from __future__ import annotations


def printable(text: object) -> str:
    """Return text with everything that cannot be shown as an escape: line ends, bytes that are no UTF-8."""
    # Such bytes come as lone surrogates, which neither HTML nor a font can hold.
    shown = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def shortened(text: str, length: int) -> str:
    """Return printable text of at most `length` characters, its end replaced by an ellipsis."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(share: float) -> str:
    """Return a share, 0 to 1, as people read it."""
    return f"{100 * share:.1f} %"
