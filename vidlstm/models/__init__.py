"""torch.nn modules and their checkpoint: no loops, no printing."""
