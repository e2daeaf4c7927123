"""Layouts of data sets: class folders, tables, official split files, lists."""
