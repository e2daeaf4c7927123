"""One training from start to end: plan, session, baseline, the run folder. The loop itself is in `loop`."""
