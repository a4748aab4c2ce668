"""Measurements beside the best peer at hand: `python -m benchmarks.NAME`."""
