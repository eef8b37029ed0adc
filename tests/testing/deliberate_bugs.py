"""Modules that are right on whole clips and wrong in a sweep, each by one mistake that is easily made."""

import torch
from torch import Tensor

from vidlatent.nn import (
    Chain,
    Conv3d,
    FirstFrame,
    Fit,
    FrameAttention,
    GroupNorm,
    Residual,
    SpaceToDepth,
    TemporalAttention,
    Trim,
)
from vidlatent.streaming import Gather, H, Halo, Sweep, Sweepable, T, Window


def swept(sweep: Sweep | None, axis: int) -> bool:
    return sweep is not None and axis in sweep.axes


class ShortHalo(Conv3d):
    """Keeps one frame too few, and reads a zero in its place."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if swept(sweep, T):
            halo = sweep.state(self, T, Halo)
            if halo.carry is not None and halo.carry.shape[T]:
                halo.carry.narrow(T, 0, 1).zero_()
        return super().forward(x, sweep)


class OtherPadding(Sweepable):
    """Declares copies of the edge and pads zeros in a sweep."""

    def __init__(self) -> None:
        super().__init__()
        self.declared = Conv3d(2, 2, t=Window.causal(3, mode="replicate"))
        self.used = Conv3d(2, 2, t=Window.causal(3, mode="zeros"))
        self.used.load_state_dict(self.declared.state_dict())

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return (self.used if swept(sweep, T) else self.declared)(x, sweep)


class StateOnModule(Sweepable):
    """A running sum along T that is kept on the module: only its first sweep along T alone is right."""

    total: Tensor | None = None

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if not swept(sweep, T):
            return x.cumsum(T)
        y = x.cumsum(T) + (0 if self.total is None else self.total)
        if x.shape[T]:
            self.total = y.narrow(T, x.shape[T] - 1, 1).clone()
        return y


class ForgottenQueue(Residual):
    """Adds what has come of both sides and throws away what is ahead."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        body, shortcut = self.body(x, sweep), self.shortcut(x, sweep)
        n = min(body.shape[T], shortcut.shape[T])
        return body[:, :, :n] + shortcut[:, :, :n]


class UnalignedShortcut(Residual):
    """Delivers all frames, but adds to each the frame that came with it and not its own."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        body, shortcut = self.body(x, sweep), self.shortcut(x, sweep)
        if shortcut.shape[T] < body.shape[T]:
            missing = body.shape[T] - shortcut.shape[T]
            shortcut = torch.cat([torch.zeros_like(body[:, :, :missing]), shortcut], T)
        return body + shortcut[:, :, : body.shape[T]]


class DropsTheEnd(Conv3d):
    """Takes an empty last slab for nothing to do."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if swept(sweep, T) and not x.shape[T]:
            return x
        return super().forward(x, sweep)


class PadsEachSlab(Conv3d):
    """Does not know that it is swept."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return super().forward(x)


class NormOfTheSlab(GroupNorm):
    """Takes the statistics of what it has at hand."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return super().forward(x) if x.numel() else x


class AttentionOfTheStrip(FrameAttention):
    """Attends to the rows it has at hand."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return super().forward(x) if x.numel() else x


class NoInnerIndex(Conv3d):
    """One halo for all strips."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep is None:
            return super().forward(x)
        true, sweep.index = sweep.index, dict.fromkeys(sweep.index, 0)
        try:
            return super().forward(x, sweep)
        finally:
            sweep.index = true


class ForgetsToSkip(Conv3d):
    """Between two strides of a small kernel, skips one input too few."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        answer = super().forward(x, sweep)
        if swept(sweep, T):
            halo = sweep.state(self, T, Halo)
            halo.skip = max(halo.skip - 1, 0)
        return answer


class EverySlabHasAFirstFrame(FirstFrame):
    """Passes the first frame of each slab."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return torch.cat([x[:, :, :1], self.body(x, sweep)], T)


class FitsEachSlab(Fit):
    """Pads every slab to the multiple."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return super().forward(x) if x.numel() else x


class ForgetsThePast(TemporalAttention):
    """Attends to the frames of the slab."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return super().forward(x)


class LosesTheRest(SpaceToDepth):
    """Folds each slab by itself and leaves what does not fill a block."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return super().forward(x)


class ReversesTheQueue(Sweepable):
    """Gathers rows and gives them back last first, which no shape shows."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if not swept(sweep, H):
            return x
        slabs = sweep.state(self, H, Gather).feed(x, H, sweep.last[H])
        return torch.cat(slabs[::-1], H) if slabs else x.narrow(H, 0, 0)


class OneColumn(Sweepable):
    """Gives a single column in a sweep, which would compare equal by broadcasting."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        y = x.mean(4, keepdim=True)
        return y if sweep else y.expand_as(x)


class OneNaN(Sweepable):
    """Rounds one number to nothing; `always` in the whole pass too."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always = always

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        y = x.clone()
        if x.numel() and (sweep or self.always):
            y[0, 0, -1, -1, -1] = torch.nan
        return y


class OneLeafTwice(Chain):
    """The same leaf at two places of the tree: its two states are one."""

    def __init__(self) -> None:
        leaf = Conv3d(2, 2, t=Window.causal(3))
        super().__init__(leaf, leaf)


three, ahead = Window.causal(3), Window.centred(3)
BUGS = {
    "halo one short": lambda: ShortHalo(2, 2, t=three),
    "zeros where copies are declared": OtherPadding,
    "state kept on the module": StateOnModule,
    "what is ahead is thrown away": lambda: ForgottenQueue(Conv3d(2, 2, t=ahead)),
    "shortcut not aligned": lambda: UnalignedShortcut(Conv3d(2, 2, t=ahead)),
    "last frames dropped": lambda: DropsTheEnd(2, 2, t=ahead),
    "padding per slab": lambda: PadsEachSlab(2, 2, t=three),
    "padding per strip": lambda: PadsEachSlab(2, 2, h=ahead),
    "statistics per slab": lambda: NormOfTheSlab(1, 2),
    "statistics per strip": lambda: NormOfTheSlab(1, 2, over="frame"),
    "attention per strip": lambda: AttentionOfTheStrip(2),
    "state key without the inner slab": lambda: NoInnerIndex(2, 2, t=three),
    "kernel smaller than stride, skip off by one": lambda: ForgetsToSkip(2, 2, t=Window(1, 3)),
    "a first frame in every slab": lambda: EverySlabHasAFirstFrame(Trim(T, before=1)),
    "fitted slab by slab": lambda: FitsEachSlab((4, 1, 1), single_first=False),
    "past forgotten": lambda: ForgetsThePast(2),
    "incomplete blocks left": lambda: LosesTheRest((2, 1, 1)),
    "rows in another order": ReversesTheQueue,
    "one column, broadcast": OneColumn,
    "one leaf twice": OneLeafTwice,
    "a NaN in the sweep": lambda: OneNaN(always=False),
    "a NaN in both": lambda: OneNaN(always=True),
}
