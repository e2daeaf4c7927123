"""Find what happens when in a film: sliding windows, smoothed into spans."""
