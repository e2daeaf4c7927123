"""Rows of `predict`, `spans` and `watch`: inputs, formats, outputs, and sorting files by label."""
