"""Training of the network and its export to ONNX: the only package that imports torch and onnx."""
