"""Prediction: the loaded model, labels of clips, spans of films, the Python interface."""
