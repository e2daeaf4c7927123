"""Which files, whose label, which side of the split, and the feature store."""
