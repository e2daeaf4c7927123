"""Every layout of a data set: class folders, tables, official split files."""
