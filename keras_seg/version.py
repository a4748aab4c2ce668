"""The version, alone in a file that imports nothing, so that the build can read it without Keras."""

__version__ = "0.1.0"
