"""A model with every kind of state, and a program that continues its stream in a process of its own.

    python resume_stream.py SAVED SLABS ANSWERS

`SAVED` maps a name to a stream's state, `SLABS` a name to what is still to push, both as `torch.save` writes them.
"""

import sys

import torch
from torch import Tensor

from vidlatent.nn import (
    Chain,
    Concat,
    Conv3d,
    FirstFrame,
    Fit,
    FrameAttention,
    GroupNorm,
    LayerNorm,
    Nearest,
    Residual,
    RMSNorm,
    SiLU,
    TemporalAttention,
    Trim,
)
from vidlatent.streaming import H, Plan, SlabStream, T, Window

PLANS = {
    "frames": Plan((T,), chunk=3),
    "rows": Plan((H,), strip=4),
    "rows inside frames": Plan((T, H), chunk=3, strip=4),
    "frames inside rows": Plan((H, T), chunk=3, strip=4),
}


def build(*, barrier: bool = False) -> Chain:
    """Convolutions of every reach, both attentions, first-frame rules, fitting, branches, norms; `barrier`: over T."""
    torch.manual_seed(3)
    three, five = Window.centred(3), Window.centred(5, mode="replicate")
    return Chain(
        Fit((2, 2, 1), single_first=True),
        Conv3d(3, 4, t=Window.causal(3, mode="replicate"), h=three, w=three),
        Residual(Chain(RMSNorm(4), SiLU(), Conv3d(4, 4, t=Window.centred(3, mode="reflect"), h=five, w=three))),
        FirstFrame(Conv3d(4, 4, t=Window(3, 2), h=three)),
        Residual(Chain(GroupNorm(2, 4, over="frame"), FrameAttention(4, heads=2))),
        Residual(Chain(LayerNorm(4), TemporalAttention(4, heads=2))),
        *([GroupNorm(2, 4)] if barrier else []),
        Conv3d(4, 4, t=Window(1, 2), h=Window(2, 2)),
        Concat(
            Chain(Nearest((2, 2, 2)), Trim(T, before=1)),
            Chain(Conv3d(4, 4, t=three), Nearest((2, 2, 2)), Trim(T, before=1)),
        ),
        Conv3d(8, 3, t=three, h=three),
    ).requires_grad_(False)


def push_all(stream: SlabStream, slabs: list[Tensor]) -> list[Tensor]:
    return [*(stream.push(slab) for slab in slabs), stream.finish()]


def main(saved_path: str, slabs_path: str, answers_path: str) -> None:
    torch.set_num_threads(1)
    slabs, answers = torch.load(slabs_path, weights_only=True), {}
    for name, saved in torch.load(saved_path, weights_only=True).items():
        stream = SlabStream(build(barrier=name.endswith("barrier")), PLANS[name.split(",")[0]])
        stream.load_state_dict(saved)
        answers[name] = push_all(stream, slabs[name])
    torch.save(answers, answers_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
