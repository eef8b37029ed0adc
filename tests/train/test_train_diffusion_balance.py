"""Channels scaled by what they do to pixels, on a decoder whose every channel has a known weight."""

import pytest
import torch

from vidlatent.train.diffusion_balance import channel_gains

WEIGHTS, STD = torch.tensor([4.0, 1.0, 0.25]), torch.tensor([1.0, 2.0, 0.5])


class Weighted:
    """Decodes a latent to its channels, each times its weight."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents * WEIGHTS[:, None, None, None]


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_gains_are_effects_to_a_power(balance: float) -> None:
    gains = channel_gains(Weighted(), torch.randn(4, 3, 8, 16, 16), STD, balance=balance)
    wanted = (WEIGHTS * STD) ** balance
    torch.testing.assert_close(gains, wanted / wanted.square().mean().sqrt(), rtol=0.03, atol=0)


def test_a_channel_that_does_nothing_is_not_lost() -> None:
    decoder = Weighted()
    decoder.decode = lambda latents: latents[:, :1]
    gains = channel_gains(decoder, torch.randn(1, 3, 2, 4, 4), STD, balance=1.0)
    assert (gains > 0).all()
