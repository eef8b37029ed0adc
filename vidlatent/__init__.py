"""Compress video into latents and back, in bounded memory, exactly."""
