"""Files to features: decoder processes, and the extractor that feeds the encoder."""
