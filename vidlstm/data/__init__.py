"""Which files, whose label, which subset of the split, and the feature store."""
