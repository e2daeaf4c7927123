"""Read video files with PyAV: open, check for completeness, read packets, decode."""
