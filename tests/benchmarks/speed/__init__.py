"""How fast, against what people would use instead, and against the limit: see `__main__`."""
