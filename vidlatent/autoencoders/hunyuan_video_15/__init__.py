"""HunyuanVideo 1.5: causal convolutions, attention over all frames so far, 4x16x16, the first frame single."""
