"""What `spans` writes for each film beside its rows, and the names of these files."""
