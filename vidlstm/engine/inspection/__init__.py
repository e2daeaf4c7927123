"""The data doctor: broken files, near duplicates, what would leak."""
