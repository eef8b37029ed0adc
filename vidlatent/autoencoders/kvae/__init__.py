"""KVAE: causal convolutions under norms over the clip, 4x8x8, the first frame single."""
