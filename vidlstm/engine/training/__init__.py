"""Training from start to end: plan, session, baseline, run folder. The training loop is in `loop`."""
