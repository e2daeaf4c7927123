"""From files to pixels. The only package that imports cv2; it does not import torch."""
