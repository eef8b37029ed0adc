"""How far each channel of a latent is scaled: by what it does to pixels, rather than all to one size.

    e_c = rms(D(z + s std_c n_c) - D(z)),  n_c noise in channel c alone,   gain_c = e_c^b / rms_c(e_c^b)

A channel that moves pixels a hundred times as much deserves more of the loss, and is settled at higher noise.
b = 0 makes all alike; b = 1 makes an error of one size in any channel an error of one size in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder

_SHARE = 0.1  # of a channel's deviation: small enough that the decoder is nearly linear


@torch.no_grad()
def channel_gains(ae: Autoencoder, latents: Tensor, std: Tensor, *, balance: float) -> Tensor:
    """Gains (C,) with a mean square of 1, measured on raw latents (B, C, t, h, w) whose channels deviate by `std`."""
    whole, generator = ae.decode(latents), torch.Generator().manual_seed(0)
    effects = torch.empty_like(std)
    for channel, deviation in enumerate(std):
        moved = latents.clone()
        noise = torch.randn(latents[:, channel].shape, generator=generator).to(latents)
        moved[:, channel] += _SHARE * deviation * noise
        effects[channel] = (ae.decode(moved) - whole).square().mean().sqrt()
    gains = effects.clamp_min(1e-3 * effects.max()) ** balance
    return gains / gains.square().mean().sqrt()
