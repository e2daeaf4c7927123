"""A trained model taken elsewhere: a folder that predicts by itself."""
