"""`vidlstm cache`: show the location and size of the feature store, or clear it."""

from __future__ import annotations

import json
from typing import Annotated

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import command

EXAMPLES = (
    "vidlstm cache",
    "vidlstm cache --clear",
)


@command
def cache(
    clear: Annotated[bool, Option("--clear", help="Delete all stored features.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show the location and size of the feature store, or clear it."""
    from vidlstm.features.store import FeatureStore

    store = FeatureStore()
    if clear:
        store.clear()
    entries, size = store.measure()
    if as_json:
        print(json.dumps({"schema": 1, "path": str(store.root), "entries": entries, "bytes": size}))
    else:
        print(f"{store.root}: {entries} entries, {size / 1e6:.1f} MB")
