"""The discriminator as it is trained: one forward pass from real and reconstructed clips to its losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidlatent.errors import InputError
from vidlatent.train.autoencoder_config import AdversarialConfig
from vidlatent.train.clips import ClipDataConfig
from vidlatent.train.losses import adversarial as gan
from vidlatent.train.losses.discriminators import PatchDiscriminator


class Opponent(nn.Module):
    """A discriminator with its regularisers; their running means are stored with it."""

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PatchDiscriminator(config.dims, width=config.width, depth=config.depth)
        self.lecam = gan.LeCam()

    def forward(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Terms by name, of clips (B, 3, T, H, W); those that are not asked for are 0."""
        none = torch.zeros((), device=real.device)
        real = real.detach().requires_grad_(self.config.r1 > 0)
        logits, logits_fake = self.network(real), self.network(fake)
        return {
            "discriminator": gan.discriminator_loss(self.config.loss, logits, logits_fake),
            "lecam": self.lecam(logits, logits_fake) if self.config.lecam else none,
            "r1": gan.r1_penalty(logits, real) if self.config.r1 else none,
            "logits_real": logits.mean(),
            "logits_fake": logits_fake.mean(),
        }


def check_sees(config: AdversarialConfig, data: ClipDataConfig) -> None:
    """Raise `InputError` for clips that are too small for a discriminator of this depth."""
    with torch.device("meta"):
        network = PatchDiscriminator(config.dims, width=8, depth=config.depth)
        for frames in (data.frames, 1) if data.images else (data.frames,):
            try:
                network(torch.empty(1, 3, frames, *data.rows_columns))
            except RuntimeError as error:
                raise InputError(
                    f"adversarial.depth={config.depth}: too deep for {frames} x {data.size} pixels, of which nothing "
                    "would be left: take a smaller depth or larger clips"
                ) from error
