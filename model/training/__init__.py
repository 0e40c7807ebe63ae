"""The only room that imports torch and onnx. The train stage enters it, late."""
