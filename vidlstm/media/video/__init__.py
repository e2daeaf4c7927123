"""Open one clip with PyAV, from a folder of numbered frames or from memory, behind one interface."""
