"""Readers of the published files, one module per format: bytes in, NumPy arrays out. None runs anything in a file."""
