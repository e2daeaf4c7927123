"""Descriptors computed without a CNN: motion, pose, colour, texture; and the table of streams."""
