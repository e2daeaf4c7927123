"""What computes a trained network: torch, oneDNN's fused layers, OpenVINO."""
