"""What distinguishes one VidTok from another, and the published ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError

_LEVELS_PER_CHANNEL = 8


@dataclass(frozen=True)
class VidTokConfig:
    """Widths, steps and kind; the defaults are the published kl_causal_488_4chn_v1_1.

    Level `i` works at `base * multipliers[i]` channels. `space_down` and `time_down` are the encoder's levels, counted
    from the finest, behind which space and time are halved, `space_up` and `time_up` those of the decoder behind which
    they are doubled; None stands for the published ones. Time changes only where space does. `time` says what layers
    see along time: the past, before whose first frame stand copies of it ("causal", version 1.1) or zeros
    ("causal-1.0"), or as much of what comes ("centred"). `discrete` rounds latents to 8 levels a channel. Raises
    `ModelError` where the fields contradict each other.
    """

    base: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    latent_channels: int = 4
    space_down: tuple[int, ...] | None = None
    space_up: tuple[int, ...] | None = None
    time_down: tuple[int, ...] | None = None
    time_up: tuple[int, ...] | None = None
    time: Literal["causal", "causal-1.0", "centred"] = "causal"
    discrete: bool = False

    def __post_init__(self) -> None:
        if not self.multipliers or min(self.base, *self.multipliers, self.num_res_blocks, self.latent_channels) < 1:
            raise ModelError(f"base, multipliers, num_res_blocks and latent_channels must be at least 1, got {self}")
        if self.time not in ("causal", "causal-1.0", "centred"):
            raise ModelError(f"time is {self.time!r}: choose 'causal', 'causal-1.0' or 'centred'")
        down, up = self.down_steps, self.up_steps
        for place in (0, 1):
            if sum(step[place] for step in down) != sum(step[place] for step in up):
                raise ModelError(f"as many steps down as up, got {self}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(self.base * multiplier for multiplier in self.multipliers)

    @property
    def down_steps(self) -> list[tuple[bool, bool]]:
        """Whether space, and time, are halved behind each level of the encoder, in the order they run."""
        last = len(self.multipliers) - 1
        space = range(last) if self.space_down is None else self.space_down
        time = (last - 1, last - 2) if self.time_down is None else self.time_down
        return [(level in space, level in space and level in time) for level in range(last + 1)]

    @property
    def up_steps(self) -> list[tuple[bool, bool]]:
        """The same of the decoder's levels, doubled, in the order they run: the coarsest first."""
        last = len(self.multipliers) - 1
        space = range(1, last + 1) if self.space_up is None else self.space_up
        time = (1, 2) if self.time_up is None else self.time_up
        return [(level in space, level in space and level in time) for level in range(last, -1, -1)]

    @property
    def levels(self) -> list[int]:
        """How many values each channel of a discrete latent takes."""
        return [_LEVELS_PER_CHANNEL] * self.latent_channels

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space, time = (2 ** sum(step[place] for step in self.down_steps) for place in (0, 1))
        rule: Literal["single", "grouped"] = "grouped" if self.time == "centred" else "single"
        return LatentSpec(self.latent_channels, (time, space, space), rule)


_WIDE = (1, 2, 4, 4, 4)
KL_488_4 = VidTokConfig()
KL_488_16 = VidTokConfig(latent_channels=16)
KL_41616_16 = VidTokConfig(latent_channels=16, multipliers=_WIDE)
KL_288_8 = VidTokConfig(latent_channels=8, time_down=(1,), time_up=(2,))
FSQ_488_32768 = VidTokConfig(latent_channels=5, discrete=True)
FSQ_888_32768 = VidTokConfig(latent_channels=5, discrete=True, time_down=(0, 1, 2), time_up=(1, 2, 3))
FSQ_41616_262144 = VidTokConfig(latent_channels=6, discrete=True, multipliers=_WIDE)
KL_NONCAUSAL_488_4 = VidTokConfig(time="centred")
FSQ_NONCAUSAL_488_262144 = VidTokConfig(latent_channels=6, discrete=True, time="centred")
KL_NONCAUSAL_488_16 = VidTokConfig(latent_channels=16, time="centred")
KL_NONCAUSAL_41616_4 = VidTokConfig(multipliers=_WIDE, time="centred")
KL_NONCAUSAL_41616_16 = VidTokConfig(latent_channels=16, multipliers=_WIDE, time="centred")
FSQ_NONCAUSAL_41616_262144 = VidTokConfig(latent_channels=6, discrete=True, multipliers=_WIDE, time="centred")
KL_488_4_10 = VidTokConfig(time="causal-1.0")
KL_488_8_10 = VidTokConfig(latent_channels=8, time="causal-1.0")
KL_488_16_10 = VidTokConfig(latent_channels=16, time="causal-1.0")
KL_288_8_10 = VidTokConfig(latent_channels=8, time_down=(1,), time_up=(2,), time="causal-1.0")
KL_444_4_10 = VidTokConfig(space_down=(1, 2), space_up=(1, 2), time="causal-1.0")
KL_41616_4_10 = VidTokConfig(multipliers=_WIDE, time="causal-1.0")
FSQ_488_4096_10 = VidTokConfig(latent_channels=4, discrete=True, time="causal-1.0")
FSQ_488_32768_10 = VidTokConfig(latent_channels=5, discrete=True, time="causal-1.0")
FSQ_488_262144_10 = VidTokConfig(latent_channels=6, discrete=True, time="causal-1.0")
FSQ_41616_262144_10 = VidTokConfig(latent_channels=6, discrete=True, multipliers=_WIDE, time="causal-1.0")
