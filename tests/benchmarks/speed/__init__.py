"""Speed compared with the alternatives and with the limit: see `__main__`."""
