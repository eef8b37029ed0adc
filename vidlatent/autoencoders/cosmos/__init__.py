"""Cosmos 1.0: causal, 8x8x8, the first frame single."""
