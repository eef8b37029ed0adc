"""EasyAnimate's MagViT: causal convolutions under norms of each frame, 4x8x8, the first frame single."""
