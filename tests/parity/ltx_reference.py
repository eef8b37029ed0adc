"""diffusers' LTX-Video and LTX-2 with random weights: published shapes, narrowed."""

import json

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLLTXVideo
from diffusers.models.normalization import RMSNorm
from family_checks import randomise
from torch import Tensor, nn

from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter

CLASSES = {"ltx-video": AutoencoderKLLTXVideo, "ltx-2": AutoencoderKLLTX2Video}
_SMALL = {"latent_channels": 8, "patch_size": 2, "spatial_compression_ratio": 16, "temporal_compression_ratio": 8}
_FOLDS = {
    "block_out_channels": (8, 16, 32, 64, 64),
    "layers_per_block": (1, 2, 1, 1, 1),
    "decoder_block_out_channels": (16, 32, 64),
    "decoder_layers_per_block": (1, 2, 1, 2),
}
NARROW = {
    "ltx-video-0.9.0": {"block_out_channels": (8, 16, 32, 32), "decoder_block_out_channels": (8, 16, 32, 32)},
    "ltx-video-0.9.1": {
        "block_out_channels": (8, 16, 32, 32),
        "decoder_block_out_channels": (16, 32, 64),
        "decoder_layers_per_block": (1, 2, 1, 2),
    },
    "ltx-video-0.9.5": _FOLDS,
    "ltx-2": {**_FOLDS, "block_out_channels": (16, 32, 64, 64)},
    "ltx-2.3": {
        **_FOLDS,
        "block_out_channels": (16, 32, 64, 64),
        "decoder_block_out_channels": (16, 32, 32, 64),
        "decoder_layers_per_block": (1, 2, 1, 1, 2),
    },
}


@torch.no_grad()
def reference(preset: str, *, narrow: bool = True, seed: int = 0, **changes: object) -> nn.Module:
    """The published architecture of a preset, with random weights and random latent statistics."""
    entry = CATALOG[preset]
    values = {k: v for k, v in adapter(entry.family).write_config(entry.config).items() if k[0] != "_"}
    if narrow:
        values |= {**_SMALL, **NARROW[preset]}
    values = json.loads(json.dumps({**values, **changes}))  # as a file has them: with lists
    model = randomise(CLASSES[entry.family](**values), seed)
    for name, parameter in model.named_parameters():
        if "per_channel_scale" in name:
            parameter.uniform_(0.2, 0.8, generator=torch.Generator().manual_seed(1))
        elif "scale_shift_table" in name:
            parameter.mul_(0.5)
        elif name.endswith("timestep_scale_multiplier"):
            parameter.fill_(1000.0)
    model.latents_mean.uniform_(-1.0, 1.0, generator=torch.Generator().manual_seed(2))
    model.latents_std.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(3))
    return model


def decode(model: nn.Module, latents: Tensor, timestep: float = 0.05) -> Tensor:
    """Their decoder, told the noise level where it asks for it."""
    temb = torch.full((len(latents),), timestep, dtype=latents.dtype) if model.config.timestep_conditioning else None
    return model.decode(latents, temb).sample


def norms_in_double(patch: pytest.MonkeyPatch) -> None:
    """Their norms take the variance in float32 whatever they are given."""
    patch.setattr(RMSNorm, "forward", lambda self, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def without_noise(patch: pytest.MonkeyPatch) -> None:
    """Their noise is drawn anew at every call: make it nothing."""
    real = torch.randn
    patch.setattr(torch, "randn", lambda *size, **kwargs: 0 * real(*size, **kwargs))
