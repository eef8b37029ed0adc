"""Small transformers with random weights, so that gates are open and nothing is zero by construction."""

import torch

from vidlatent.diffusion import VideoDiT, VideoDiTConfig


def random_dit(seed: int = 0, dtype: torch.dtype = torch.float64, **overrides: object) -> VideoDiT:
    """A `VideoDiT` of width 24 whose every weight is random."""
    values = {"channels": 3, "dim": 24, "depth": 2, "heads": 2, "patch": 2} | overrides
    torch.manual_seed(seed)
    dit = VideoDiT(VideoDiTConfig(**values))
    for parameter in dit.parameters():
        parameter.data = torch.randn_like(parameter) * (0.3 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5)
    return dit.to(dtype).eval()


def latents(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Standard normal values that depend on nothing but the seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
