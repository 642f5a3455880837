"""Keras to TFLite and ONNX, int8 of both, and the check after each (extra: export)."""
