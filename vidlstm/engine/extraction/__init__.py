"""Extraction of features from files: decoder processes, encoder, feature store."""
