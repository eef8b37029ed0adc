"""The past as a long rollout has it: the first frames of a clip, and frames from much later, which may be faded.

at_i = i            for the sinks, i < s
at_i = i + gap      behind them, gap uniform in 0 .. room for half of the samples, 0 for the others
z_i <- z_i + w (mean - z_i)   for s <= i < n, n and w uniform, in the faded share of samples: what moves is in no mean
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vidlatent.diffusion.context import Context


def set_apart(
    z: Tensor, context: Context | None, *, frames: int, sinks: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Context | None, Tensor]:
    """`frames` of latents `(B, C, t, h, w)`, t >= frames, with their conditions; t - frames is the largest gap.

    The third value `(B, frames)` is True where a frame is given as it is: sinks before a gap, as a long rollout shows
    them, and the frame behind it, which nobody can foresee.
    """
    count, room = len(z), z.shape[2] - frames
    gap = torch.randint(-room, room + 1, (count, 1), generator=generator).clamp(min=0)
    place = torch.arange(frames)
    at, clip = (place + gap * (place >= sinks)).to(z.device), torch.arange(count, device=z.device)[:, None]
    given = ((gap > 0) & (place <= sinks)).to(z.device)
    if context is not None and context.actions is not None:
        context = replace(context, actions=context.actions[clip, at])
    return z.transpose(1, 2)[clip, at].transpose(1, 2), context, given


def fade(
    z: Tensor, mean: Tensor, *, share: float, sinks: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """`z` `(B, C, t, h, w)` with a part of its past faded towards `mean` `(B, C, 1, h, w)`, and which frames these are.

    The second value `(B, t)` is True there; the last frame and the sinks never are.
    """
    count, frames = len(z), z.shape[2]
    if not share:
        return z, torch.zeros(count, frames, dtype=torch.bool, device=z.device)
    chosen, end, weight = torch.rand(3, count, 1, generator=generator).to(z.device)
    place = torch.arange(frames, device=z.device)
    past = (chosen < share) & (place >= sinks) & (place < sinks + end * (frames - sinks))
    past = past & (place < frames - 1)
    amount = (past * weight)[:, None, :, None, None].to(z)
    return z + amount * (mean - z), past
