"""HTML pages and plots, and the findings that they show."""
