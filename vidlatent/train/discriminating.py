"""The discriminator as it is trained: one forward pass from real and reconstructed clips to its losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidlatent.train.autoencoder_config import AdversarialConfig
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
