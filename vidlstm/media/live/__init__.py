"""Cameras and streams: frames as they come, clips of them, a window that shows them."""
