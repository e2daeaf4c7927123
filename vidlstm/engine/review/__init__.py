"""Correction of labels by hand: what to review, in which order, and applying the decisions."""
