"""Labels corrected by hand: what to review, in which order, and what was decided applied."""
