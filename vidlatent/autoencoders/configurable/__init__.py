"""Autoencoders of the user's own making, put together from a configuration."""
