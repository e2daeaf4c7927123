"""The panels of the help."""

from __future__ import annotations

SPLIT = "Groups and splits"
OUTPUT = "Output"
FILES = "Input and output"
LAYOUT = "Data layouts"
READING = "Sampling of clips and pictures"
MODEL = "Model"
TRAINING = "Training"
FINE_TUNING = "Encoder fine-tuning"
MACHINE = "Hardware and cache"

ADVANCED = frozenset({LAYOUT, READING, MODEL, TRAINING, FINE_TUNING, MACHINE})
"""Panels that `--help` leaves out and `--help-all` shows."""
ALL = "vidlstm.all"
"""Key in a context's `meta` that requests all options."""
