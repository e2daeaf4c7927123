"""Encoders of lower precision, and the comparison of their labels on held-out clips."""
