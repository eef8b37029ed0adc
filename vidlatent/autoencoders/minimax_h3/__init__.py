"""MiniMax-H3: 4x16x16, clips of 17 frames, tiles of 256 pixels; a transformer decodes them."""
