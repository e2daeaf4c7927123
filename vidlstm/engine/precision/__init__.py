"""Encoders of lower precision, and whether the held-out clips keep their labels with them."""
