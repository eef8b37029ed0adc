"""What each fast path of convolution and norm saves on this machine, against the plain call it replaces.

python benchmarks/convolution.py [--json] [--threads 1] [--rounds 9]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from measure import median_ratio, paired_times
from torch import Tensor

from vidlatent.nn import Chain, Conv3d, DoubledConv3d, GroupNorm, Nearest
from vidlatent.streaming import Window

Pair = tuple[Callable[[], Tensor], Callable[[], Tensor]]


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def pairs() -> dict[str, Pair]:
    """Name: (the plain call, what is done instead)."""
    wide, weight = torch.randn(1, 96, 6, 128, 128), torch.randn(96, 96, 3, 3, 3)
    slab, slab_weight = channels_last(torch.randn(1, 384, 3, 16, 16)), channels_last(torch.randn(384, 384, 3, 3, 3))
    many = Conv3d(512, 512, t=Window(3), h=Window.centred(3), w=Window.centred(3))
    deep = channels_last(torch.randn(1, 512, 5, 32, 32))
    point = torch.randn(192, 192, 1, 1, 1)
    rows = channels_last(torch.randn(1, 192, 4, 64, 64))
    causal = Conv3d(96, 96, t=Window.causal(3), h=Window.centred(3), w=Window.centred(3))
    causal.weight.data = channels_last(causal.weight.data)
    clip = channels_last(torch.randn(1, 96, 9, 64, 64))
    doubled, norm = DoubledConv3d(256, 256), GroupNorm(32, 128, over="frame", silu=True)
    twice = Chain(Nearest((1, 2, 2)), Conv3d(256, 256, h=Window.centred(3), w=Window.centred(3)))
    coarse, frames = channels_last(torch.randn(1, 256, 2, 48, 48)), channels_last(torch.randn(1, 128, 4, 128, 128))
    images = frames[0].transpose(0, 1).contiguous()
    wide_last, weight_last = channels_last(wide), channels_last(weight)
    return {
        "channels last": (
            lambda: F.conv3d(wide, weight, padding=(0, 1, 1)),
            lambda: F.conv3d(wide_last, weight_last, padding=(0, 1, 1)),
        ),
        "oneDNN for a small slab": (
            lambda: F.conv3d(slab, slab_weight, padding=(0, 1, 1)),
            lambda: torch.mkldnn_convolution(slab, slab_weight, None, (0, 1, 1), (1, 1, 1), (1, 1, 1), 1),
        ),
        "long sums in parts": (
            lambda: torch.mkldnn_convolution(deep, many.weight, many.bias, (0, 1, 1), (1, 1, 1), (1, 1, 1), 1),
            lambda: many(deep),
        ),
        "matrix product for 1x1x1": (
            lambda: F.conv3d(rows, point),
            lambda: F.linear(rows.permute(0, 2, 3, 4, 1), point.flatten(1)),
        ),
        "no taps on zero frames, 9 frames": (
            lambda: F.conv3d(F.pad(clip, (0, 0, 0, 0, 2, 0)), causal.weight, causal.bias, padding=(0, 1, 1)),
            lambda: causal(clip),
        ),
        "doubling and convolution in one": (lambda: twice(coarse), lambda: doubled(coarse)),
        "group norm and SiLU": (
            lambda: F.silu(F.group_norm(images, 32, norm.weight, norm.bias, norm.eps)),
            lambda: norm(frames),
        ),
    }


def errors_of_long_sums() -> dict[str, float]:
    """How far one convolution over 13824 products is from float64: root mean squares, of the error over the answer."""
    conv = Conv3d(512, 512, t=Window(3), h=Window.centred(3), w=Window.centred(3))
    x, how = torch.randn(1, 512, 5, 16, 16), ((0, 1, 1), (1, 1, 1), (1, 1, 1), 1)
    exact = F.conv3d(x.double(), conv.weight.double(), conv.bias.double(), padding=(0, 1, 1))
    ways = {
        "at once": torch.mkldnn_convolution(channels_last(x), conv.weight, conv.bias, *how),
        "in parts": conv(channels_last(x)),
        "contiguous": torch.mkldnn_convolution(x, conv.weight, conv.bias, *how),
    }
    return {name: float((y - exact).square().mean().sqrt() / exact.square().mean().sqrt()) for name, y in ways.items()}


def times_of_shorter_sums(rounds: int) -> dict[str, list[float]]:
    """Time of convolutions of 512, 256 and 128 channels by other limits (`_LONG`, `_PRODUCTS`), over what it is."""
    limits = {"128, 2304": (128, 2304), "128, 1152": (128, 1152), "128, 768": (128, 768), "128, 576": (128, 576)}
    table: dict[str, list[float]] = {name: [] for name in limits}
    for channels, shape in ((512, (5, 32, 32)), (256, (3, 64, 64)), (128, (3, 96, 96))):
        conv = Conv3d(channels, channels, t=Window(3), h=Window.centred(3), w=Window.centred(3))
        conv.weight.data, x = channels_last(conv.weight.data), channels_last(torch.randn(1, channels, *shape))

        def limited(long: int, products: int, conv: Conv3d = conv, x: Tensor = x) -> Tensor:
            with patch.multiple("vidlatent.nn.conv", _LONG=long, _PRODUCTS=products):
                return conv(x)

        ways = {name: partial(limited, *pair) for name, pair in limits.items()}
        times = paired_times({"now": partial(conv, x), **ways}, rounds)
        for name in limits:
            table[name].append(round(median_ratio(times[name], times["now"]), 2))
    return table


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shorter = times_of_shorter_sums(args.rounds)  # first: behind the others memory lies differently
    rows = {}
    for name, (plain, fast) in pairs().items():
        times = paired_times({"plain": plain, "fast": fast}, args.rounds)
        rows[name] = {
            "speedup": round(median_ratio(times["plain"], times["fast"]), 2),
            "plain_ms": round(1e3 * min(times["plain"]), 1),
        }
        if not args.json:
            print(f"{name:34} {rows[name]['speedup']:6.2f}x over {rows[name]['plain_ms']:.1f} ms")
    errors = errors_of_long_sums()
    if not args.json:
        print("errors of long sums:", *(f"{name} {error:.1e}" for name, error in errors.items()))
        print("times of shorter sums (512, 256, 128 channels):", shorter)
    answer = {"rows": rows, "errors_of_long_sums": errors, "times_of_shorter_sums": shorter}
    print(json.dumps({"benchmark": "convolution", "threads": args.threads, **answer}))


if __name__ == "__main__":
    main()
