"""Read films and live streams at the moments of a grid, and compute their features."""
