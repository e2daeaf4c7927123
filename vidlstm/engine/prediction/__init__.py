"""One clip, one label: the loaded model, the loop over files, the Python interface."""
