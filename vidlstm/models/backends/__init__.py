"""Libraries that run a trained network: torch, oneDNN's fused layers, OpenVINO, onnxruntime."""
