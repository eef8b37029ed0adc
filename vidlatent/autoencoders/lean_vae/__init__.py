"""LeanVAE: wavelets, neighbourhood-aware feed-forward layers and a compressed-sensing bottleneck, 4x8x8."""
