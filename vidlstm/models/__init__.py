"""torch.nn modules and their checkpoint. No training loops, no printing."""
