"""When does what happen? Windows over a film, smoothed to spans."""
