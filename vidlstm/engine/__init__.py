"""The loops, where files, features and models meet: they yield records and print nothing."""
