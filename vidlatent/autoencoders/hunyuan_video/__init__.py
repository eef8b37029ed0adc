"""HunyuanVideo: causal convolutions, norms and attention over the clip, 4x8x8, the first frame single."""
