"""LTX's published autoencoders. Latent statistics are tensors of the checkpoints, so they come with the weights."""

from __future__ import annotations

from dataclasses import replace

from vidlatent.autoencoders.ltx.config import LTXConfig

LTX_VIDEO_090 = LTXConfig()
"""The first release, 0.9.0."""

LTX_VIDEO_091 = LTXConfig(
    decoder_widths=(256, 512, 1024),
    decoder_blocks=(5, 6, 7, 8),
    upsample=(True, True, True),
    upsample_residual=(True, True, True),
    upsample_factor=(2, 2, 2),
    inject_noise=(True, True, True, False),
    timestep_conditioning=True,
)
"""0.9.1 and 0.9.2: a decoder that takes the last step of denoising."""

LTX_VIDEO_095 = replace(
    LTX_VIDEO_091,
    encoder_widths=(128, 256, 512, 1024, 2048),
    encoder_blocks=(4, 6, 6, 2, 2),
    downsample=(True, True, True, True),
    downsample_kinds=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    decoder_blocks=(5, 5, 5, 5),
    inject_noise=(False, False, False, False),
)
"""0.9.5 to 0.9.8: an encoder that folds."""

LTX_2 = replace(
    LTX_VIDEO_095,
    encoder_widths=(256, 512, 1024, 2048),
    upsample_kinds=("spatiotemporal", "spatiotemporal", "spatiotemporal"),
    decoder_padding="reflect",
    timestep_conditioning=False,
)
"""The video autoencoder of LTX-2."""

LTX_23 = replace(
    LTX_2,
    encoder_widths=(256, 512, 1024, 1024),
    encoder_blocks=(4, 6, 4, 2, 2),
    decoder_widths=(256, 512, 512, 1024),
    decoder_blocks=(4, 6, 4, 2, 2),
    upsample=(True, True, True, True),
    upsample_kinds=("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
    upsample_residual=(False, False, False, False),
    upsample_factor=(2, 2, 1, 2),
    inject_noise=(False, False, False, False, False),
    decoder_padding="zeros",
)
"""The video autoencoder of LTX-2.3."""
