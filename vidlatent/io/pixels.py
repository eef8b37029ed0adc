"""Between frames as files hold them and clips as models take them: x = u / 127.5 - 1."""

import torch
from torch import Tensor

from vidlatent.errors import InputError


def to_float(frames: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn uint8 frames (T, H, W, 3) into a clip (1, 3, T, H, W) in [-1, 1]: u / 127.5 - 1.

    Raises:
        InputError: The tensor is not uint8 (T, H, W, 3).
    """
    check_frames(frames)
    video = frames.permute(3, 0, 1, 2).unsqueeze(0).contiguous()
    # In float32 whatever the result: 127.5 and the quotient do not survive half precision.
    return video.to(torch.float32).div_(127.5).sub_(1).to(dtype)


def to_uint8(video: Tensor) -> Tensor:
    """Turn a clip (1, 3, T, H, W) in [-1, 1] into uint8 frames (T, H, W, 3): round((x + 1) * 127.5), clamped.

    `to_uint8(to_float(frames))` equals `frames`. Values beyond [-1, 1] are clamped; NaN is an error.

    Raises:
        InputError: The tensor is not floating point (1, 3, T, H, W), or holds NaN.
    """
    if video.ndim != 5 or video.shape[0] != 1 or video.shape[1] != 3 or not video.is_floating_point():
        raise InputError(
            f"a clip is floating point (1, 3, T, H, W) in [-1, 1]; got {video.dtype} {tuple(video.shape)}. "
            "Take one item of a batch with video[i : i + 1]."
        )
    levels = video.detach()[0].permute(1, 2, 3, 0).to(torch.float32).add(1).mul_(127.5)
    if torch.isnan(levels).any():
        raise InputError("the clip holds NaN: there is no pixel to write for it")
    return levels.round_().clamp_(0, 255).to(torch.uint8).contiguous()


def check_frames(frames: Tensor) -> None:
    """Raise InputError unless `frames` is uint8 (T, H, W, 3)."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise InputError(f"frames are uint8 (T, H, W, 3); got {frames.dtype} {tuple(frames.shape)}")


def over_black(rgba: Tensor) -> Tensor:
    """Lay uint8 (H, W, 4) with straight alpha over black, as players do: round(colour * alpha / 255)."""
    product = rgba[..., :3].to(torch.int32) * rgba[..., 3:].to(torch.int32)
    return torch.div(product + 127, 255, rounding_mode="floor").to(torch.uint8)
