"""Wan 2.1 and 2.2: causal, 4x8x8 or 4x16x16, the first frame single."""
