"""How rows are written: predictions, spans, live events, and documents for one film."""
