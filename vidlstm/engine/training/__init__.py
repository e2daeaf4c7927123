"""One training from start to end: session, trainer, steps, late fusion, the run folder."""
