"""The rows that predict writes: their inputs, formats, outputs, and where files are sorted to."""
