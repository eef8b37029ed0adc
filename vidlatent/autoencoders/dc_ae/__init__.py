"""DC-AE: image autoencoders of high compression, 32x32 to 128x128, frame by frame."""
