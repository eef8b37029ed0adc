"""The image autoencoders of latent diffusion (Stable Diffusion, SDXL, FLUX.1), frame by frame."""
