"""Stable Video Diffusion: frames encoded one by one, decoded together."""
