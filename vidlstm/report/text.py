"""Make foreign text (file names, labels) safe to display."""

from __future__ import annotations


def printable(text: object) -> str:
    """Escape everything that cannot be displayed: control characters, and bytes that are not UTF-8."""
    # Such bytes appear as lone surrogates, which neither HTML nor a font can represent.
    shown = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def shortened(text: str, length: int) -> str:
    """Return printable text of at most `length` characters, its end replaced by an ellipsis."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(share: float) -> str:
    """Format a share, 0 to 1, as a percentage."""
    return f"{100 * share:.1f} %"
