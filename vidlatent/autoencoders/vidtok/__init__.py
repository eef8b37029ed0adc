"""VidTok: layers of frames and of time in turn, continuous or discrete latents, causal or not."""
