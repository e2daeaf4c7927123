"""Features on disk, and features in batches."""
