"""TAEHV: tiny autoencoders that speak the latents of large ones, for previews and for real time."""
