"""diffusers' Wan with weights that leave nothing untested: random norms and biases, activations near one."""

from types import MethodType

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanUpsample
from torch import Tensor, nn

NARROW = {
    "wan-2.1": {"base_dim": 16},
    "wan-2.2": {
        "base_dim": 16,
        "decoder_base_dim": 32,
        "z_dim": 48,
        "is_residual": True,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
        "scale_factor_spatial": 16,
        "latents_mean": [0.0] * 48,
        "latents_std": [1.0] * 48,
    },
}


def reference(preset: str, *, seed: int = 0, **changes: object) -> AutoencoderKLWan:
    """The published architecture of a preset, narrowed unless `changes` say otherwise."""
    model = AutoencoderKLWan(**{**NARROW[preset], **changes}).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.1, generator=generator)
        else:
            parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
    return model


def in_double(model: AutoencoderKLWan) -> AutoencoderKLWan:
    """The same in float64, through and through: its upsampling is in float32 otherwise."""
    for module in model.modules():
        if isinstance(module, WanUpsample):
            module.forward = MethodType(nn.Upsample.forward, module)
    return model.double()


def video(frames: int, height: int = 32, width: int = 48, *, seed: int = 0, dtype: torch.dtype = torch.float) -> Tensor:
    """Noise in [-1, 1]: (1, 3, frames, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, height, width, generator=generator, dtype=dtype) * 2 - 1
