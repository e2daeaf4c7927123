"""Measurements on demand, which are not part of the test suite."""
