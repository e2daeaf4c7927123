"""Cameras and streams: live frames, recorded clips, and a preview window."""
