"""Detect people, track them from moment to moment, and find their key points."""
