"""Evaluation of a model, cross-validation, ablation, and labels that are probably wrong."""
