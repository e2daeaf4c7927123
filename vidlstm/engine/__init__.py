"""The jobs that combine files, features and models. They yield records and events, and print nothing."""
