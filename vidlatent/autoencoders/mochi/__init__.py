"""Mochi 1: causal, 6x8x8 with 12 channels, the first frame single."""
