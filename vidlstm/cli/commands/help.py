"""`vidlstm help TOPIC`: the manual, one page per topic. The pages are Markdown files in `vidlstm/docs`."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument

from vidlstm.cli.console import command, rich_console
from vidlstm.errors import UsageError

EXAMPLES = ("vidlstm help", "vidlstm help data", "vidlstm help formats | less")

_PAGES = Path(__file__).parents[2] / "docs"


def topics() -> dict[str, str]:
    """Return every topic with the title of its page."""
    pages = sorted(_PAGES.glob("*.md"))
    return {p.stem: p.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for p in pages}


@command
def help(
    topic: Annotated[str | None, Argument(help="Page to show.", show_default="the list of pages")] = None,
) -> None:
    """Show a page of the manual: formats, data layouts, films, Python and more."""
    known = topics()
    if topic is None:
        width = max(map(len, known))
        for name, title in known.items():
            print(f"{name:{width}}  {title}")
        print("\nOpen a page with: vidlstm help PAGE")
        return
    if topic not in known:
        near = difflib.get_close_matches(topic, known, 1)
        way_out = f". Did you mean {near[0]!r}?" if near else f"; the pages are {', '.join(known)}."
        raise UsageError(
            f"{topic}: no such page{way_out} For the options of a command: vidlstm COMMAND --help"
        )
    text = (_PAGES / f"{topic}.md").read_text(encoding="utf-8")
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        rich_console().print(Markdown(text))
    else:
        print(text, end="")
