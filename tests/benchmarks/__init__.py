"""Measurements on demand: never part of the suite."""
