"""WF-VAE: convolutions beside a path of wavelet energy, 4x8x8, the first frame single."""
