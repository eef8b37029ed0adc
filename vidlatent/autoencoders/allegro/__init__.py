"""Allegro: 4x8x8 with 4 channels, every latent for four frames."""
