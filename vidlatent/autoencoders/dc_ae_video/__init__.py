"""Video DC-AE of Open-Sora 2: residual autoencoding in space and time, 4x32x32, four frames a latent."""
