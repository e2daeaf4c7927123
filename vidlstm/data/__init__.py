"""Data sets: samples, labels, groups, splits and annotations. Never reads pixels."""
