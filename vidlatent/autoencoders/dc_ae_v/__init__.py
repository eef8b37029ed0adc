"""DC-AE-V: residual autoencoding of video in chunks of frames, 4x32x32 and 4x64x64."""
