"""TAEHV written out frame by frame over a checkpoint's own keys: plain 2D convolutions, one clip (T, C, H, W)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.autoencoders.taehv.model import TAEHVConfig

Weights = Mapping[str, Tensor]


def encode(weights: Weights, config: TAEHVConfig, clip: Tensor) -> Tensor:
    """Latents (t, c, h, w) of a clip in [-1, 1], filled with its last frame to whole groups."""
    if config.run:  # chunks of 17 frames, the last one filled, three black ones before each; what was filled is dropped
        clip = torch.cat([clip, *[clip[-1:]] * (-len(clip) % 17)])
        black = clip.new_zeros(3, *clip.shape[1:])
        chunks = [torch.cat([black, (chunk + 1) / 2]) for chunk in clip.split(17)]
        return torch.cat([_encode(weights, config, chunk) for chunk in chunks])[:-3]
    missing = -len(clip) % config.stride[0]
    return _encode(weights, config, (torch.cat([clip, *[clip[-1:]] * missing]) + 1) / 2)


def _encode(weights: Weights, config: TAEHVConfig, clip: Tensor) -> Tensor:
    x, layer = F.pixel_unshuffle(clip, config.patch_size), 2
    x = F.relu(_conv(weights, "encoder.0", x))
    for in_time in config.downsample:
        frames = 2 if in_time else 1
        pooled = torch.stack([torch.cat(list(x[i : i + frames])) for i in range(0, len(x), frames)])
        x = _conv(weights, f"encoder.{layer + 1}", _conv(weights, f"encoder.{layer}.conv", pooled), stride=2)
        x = _blocks(weights, "encoder", layer + 2, config, x)
        layer += 2 + config.num_blocks
    return _conv(weights, f"encoder.{layer}", x)


def decode(weights: Weights, config: TAEHVConfig, latents: Tensor) -> Tensor:
    """The clip (T, 3, H, W) in [-1, 1], without the frames that come before the first."""
    if config.decoder == "super":
        return _super(weights, config, latents)
    x, layer = F.relu(_conv(weights, "decoder.1", torch.tanh(latents / 3) * 3)), 3
    for in_time in config.upsample:
        x = _blocks(weights, "decoder", layer, config, x)
        layer += config.num_blocks
        grown = _conv(weights, f"decoder.{layer + 1}.conv", F.interpolate(x, scale_factor=2, mode="nearest"))
        x = torch.cat([torch.stack(frame.chunk(2 if in_time else 1)) for frame in grown])
        x = _conv(weights, f"decoder.{layer + 2}", x)
        layer += 3
    x = F.pixel_shuffle(_conv(weights, f"decoder.{layer + 1}", F.relu(x)), config.patch_size)
    group = 20 if config.run else len(x)  # of a run's 20 frames three are black, and at the end two latents are five
    return torch.cat([frames[config.stride[0] - 1 :] for frames in x.split(group)]).clamp(0, 1) * 2 - 1


def _super(weights: Weights, config: TAEHVConfig, latents: Tensor) -> Tensor:
    """The larger decoder: blocks in the manner of ConvNeXt, pixels shuffled."""
    x, layer = _conv(weights, "decoder.0", latents), 1
    for in_time in config.upsample:
        for index in range(layer, layer + config.num_blocks):
            y = torch.cat([x, torch.cat([torch.zeros_like(x[:1]), x[:-1]])], 1)
            y = F.conv2d(y, weights[f"decoder.{index}.conv.0.weight"], padding=3, groups=y.shape[1])
            x = x + _conv(weights, f"decoder.{index}.conv.3", F.relu(_conv(weights, f"decoder.{index}.conv.1", y)))
        layer += config.num_blocks
        grown = F.pixel_shuffle(F.relu(_conv(weights, f"decoder.{layer}", x)), 2)
        grown = _conv(weights, f"decoder.{layer + 3}.conv", grown)
        x = torch.cat([torch.stack(frame.chunk(2 if in_time else 1)) for frame in grown])
        layer += 4
    x = F.pixel_shuffle(_conv(weights, f"decoder.{layer}", x), config.patch_size)
    return x[config.stride[0] - 1 :].clamp(0, 1) * 2 - 1


def _conv(weights: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel = weights[f"{name}.weight"]
    groups = x.shape[1] // kernel.shape[1]
    return F.conv2d(x, kernel, weights.get(f"{name}.bias"), stride, kernel.shape[-1] // 2, groups=groups)


def _blocks(weights: Weights, side: str, first: int, config: TAEHVConfig, x: Tensor) -> Tensor:
    layers = (0, 2, 4, 6) if side == "decoder" and config.decoder == "wide" else (0, 2, 4)
    for index in range(first, first + config.num_blocks):
        before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        y = torch.cat([x, before], 1)
        for layer in layers:
            y = _conv(weights, f"{side}.{index}.conv.{layer}", F.relu(y) if layer else y)
        x = F.relu(y + x)
    return x
