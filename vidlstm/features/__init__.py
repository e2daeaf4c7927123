"""The feature store on disk, and batches of features."""
