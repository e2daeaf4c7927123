"""Files become pixels: the only room that imports cv2, and it knows no torch."""
