"""Labelled spans of films, in the formats of annotation programs: read and written."""
