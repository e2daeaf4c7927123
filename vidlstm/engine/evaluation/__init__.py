"""How good is it? Cross-validation, and which clips are scored."""
