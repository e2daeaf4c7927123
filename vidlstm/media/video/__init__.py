"""Open one video: OpenCV, PyAV, or a folder of numbered frames, behind one cursor."""
