"""Processes that work on files: jobs, workers that may crash, and the pool that keeps their order."""
