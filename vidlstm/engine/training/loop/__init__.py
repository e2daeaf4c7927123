"""The training loop: trainer, steps, optimiser, and the calibration on held-out clips."""
