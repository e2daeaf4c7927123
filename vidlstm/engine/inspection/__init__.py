"""The data doctor: broken files, near duplicates, leaks."""
