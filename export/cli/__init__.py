"""The command `python -m export.tflite`."""
