"""`vidlstm cache`: where features are kept, how much they take, and how to be rid of them."""

from __future__ import annotations

import json
from typing import Annotated

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import command


@command
def cache(
    clear: Annotated[bool, Option("--clear", help="Remove every kept feature.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show place and size of the feature store ($VIDLSTM_CACHE_DIR), or clear it."""
    from vidlstm.features.store import FeatureStore

    store = FeatureStore()
    if clear:
        store.clear()
    entries, size = store.measure()
    if as_json:
        print(json.dumps({"schema": 1, "path": str(store.root), "entries": entries, "bytes": size}))
    else:
        print(f"{store.root}: {entries} entries, {size / 1e6:.1f} MB")
