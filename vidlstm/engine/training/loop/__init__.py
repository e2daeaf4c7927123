"""The training loop: a trainer, its steps and optimiser, and what is fitted on held-out clips at the end."""
