"""Metrics of predictions, as pure functions."""
