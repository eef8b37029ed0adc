"""LTX-Video and LTX-2: 8x32x32 with 128 channels, the first frame single; the decoder looks ahead."""
