"""Random autoencoders from all layers: causal, centred and mixed, with barriers, branches, first-frame rules."""

import random

from vidlatent.nn import (
    GELU,
    Chain,
    Concat,
    Conv3d,
    DepthToSpace,
    FirstFrame,
    FrameAttention,
    GroupNorm,
    Haar,
    InverseHaar,
    LayerNorm,
    Nearest,
    Residual,
    RMSNorm,
    SiLU,
    SpaceToDepth,
    TemporalAttention,
    Trim,
)
from vidlatent.streaming import Sweepable, T, Window


class Builder:
    """Draws one encoder and decoder; `style` says which reach along T its convolutions have."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.style = self.rng.choice(["causal", "centred", "mixed"])
        self.width = self.rng.choice([4, 8])

    def mode(self) -> str:
        return self.rng.choice(["zeros", "replicate", "reflect"])

    def time(self) -> Window:
        causal = self.style == "causal" or (self.style == "mixed" and self.rng.random() < 0.5)
        if causal:
            return Window.causal(self.rng.choice([1, 2, 3, 4]), mode=self.mode(), dilation=self.rng.choice([1, 1, 2]))
        return self.rng.choice(
            [Window.centred(3, mode=self.mode()), Window.centred(5, mode=self.mode()), Window(4, 1, 1, 2, self.mode())]
        )

    def space(self) -> Window:
        return Window.centred(self.rng.choice([1, 3, 3, 5]), mode=self.mode())

    def conv(self, channels_in: int, channels_out: int, **sizes: Window) -> Conv3d:
        windows = {"t": self.time(), "h": self.space(), "w": Window.centred(3)} | sizes
        groups = self.rng.choice([1, 1, 2]) if channels_in % 2 == channels_out % 2 == 0 else 1
        return Conv3d(channels_in, channels_out, **windows, groups=groups)

    def norm(self, c: int) -> Sweepable:
        draw = self.rng.random()
        if draw < 0.15:
            return GroupNorm(2, c, over="clip", eps=1e-2)
        if draw < 0.35:
            return GroupNorm(2, c, over="frame", eps=1e-2)
        return self.rng.choice(
            [RMSNorm(c, eps=1e-2), RMSNorm(c, bias=True, silu=True, eps=1e-2), LayerNorm(c, eps=1e-2)]
        )

    def act(self) -> Sweepable:
        return self.rng.choice([SiLU(), GELU()])

    def block(self, c: int) -> Sweepable:
        """A residual whose two sides look ahead by different amounts."""
        body = Chain(
            self.norm(c), self.act(), self.conv(c, c), *([self.act(), self.conv(c, c)] * 1)[: self.rng.choice([0, 2])]
        )
        draw = self.rng.random()
        if draw < 0.15:
            return Residual(Chain(self.norm(c), FrameAttention(c, heads=self.rng.choice([1, 2]))))
        if draw < 0.3:
            return Residual(Chain(self.norm(c), TemporalAttention(c, heads=self.rng.choice([1, 2]))))
        if draw < 0.4:
            return Chain(Concat(body, self.conv(c, c), Chain()), self.conv(3 * c, c))
        if draw < 0.6:
            return Residual(body, self.conv(c, c))
        return Residual(body)

    def blocks(self, c: int) -> list[Sweepable]:
        return [self.block(c) for _ in range(self.rng.choice([1, 1, 2]))]

    def down_time(self, c: int) -> Sweepable:
        options = [
            self.conv(c, c, t=Window.causal(3, 2, self.mode())),
            self.conv(c, c, t=Window(1, 2)),
            self.conv(c, c, t=Window(3, 2, 1, 1, self.mode())),
            FirstFrame(Conv3d(c, c, t=Window(3, 2))),
            Chain(SpaceToDepth((2, 1, 1), before=1), Conv3d(2 * c, c)),
            Chain(Haar((2, 1, 1), before=1), Conv3d(2 * c, c)),
            Residual(self.conv(c, c, t=Window.causal(3, 2)), self.conv(c, c, t=Window(1, 2))),
        ]
        return self.rng.choice(options)

    def down_space(self, c: int) -> Sweepable:
        window = self.rng.choice([Window(3, 2, 0, 1), Window(3, 2, 1, 1, self.mode()), Window(2, 2)])
        patches = Chain(SpaceToDepth((1, 2, 2)), Conv3d(4 * c, c))
        return self.rng.choice([self.conv(c, c, h=window, w=window), patches])

    def up(self, c: int, t: int) -> list[Sweepable]:
        many = c * t * 4
        grow = self.rng.choice(
            [
                [Nearest((t, 2, 2)), self.conv(c, c)],
                [self.conv(c, many), DepthToSpace((t, 2, 2))],
                [self.conv(c, many), InverseHaar((t, 2, 2))],
            ]
        )
        return [*grow, *([Trim(T, before=t - 1)] if t > 1 and self.rng.random() < 0.7 else [])]

    def first_frame(self, c: int) -> list[Sweepable]:
        """Sometimes the first frame twice: as it is, and through a body that hides it."""
        return [FirstFrame(Chain(Trim(T, before=1), self.conv(c, c)))] if self.rng.random() < 0.4 else []

    def autoencoder(self) -> Chain:
        c = self.width
        encoder = [self.conv(3, c), *self.blocks(c), self.down_space(c), *self.first_frame(c), *self.blocks(c)]
        encoder += [self.down_time(c), *self.blocks(c), self.conv(c, 4)]
        decoder = [self.conv(4, c), *self.blocks(c), *self.up(c, 2), *self.blocks(c), *self.first_frame(c)]
        if self.rng.random() < 0.5:  # another level
            encoder += [self.down_space(4)]
            decoder[1:1] = self.up(c, self.rng.choice([1, 2]))
        return Chain(Chain(*encoder), Chain(*decoder, self.norm(c), self.act(), self.conv(c, 3)))
