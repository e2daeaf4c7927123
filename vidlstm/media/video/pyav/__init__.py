"""Files read with PyAV: opened, checked for completeness, planned by their packets, decoded."""
