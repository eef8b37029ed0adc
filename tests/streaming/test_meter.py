"""What the meter counts, and that it counts what the operators of the CPU really answer and hold."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidlatent.nn import Chain, Conv3d, Haar
from vidlatent.streaming.meter import LiveStorage, empty_clip, to_meta, weight_bytes

CLIP = (2, 8, 3, 6, 5)
WEIGHT, SQUARE = torch.randn(12, 8, 3, 3, 3), torch.randn(8, 8)
OPERATORS = {
    "convolution": lambda x: F.conv3d(x, WEIGHT.to(x), None, 1, (0, 1, 1)),
    "strided convolution": lambda x: F.conv3d(x, WEIGHT.to(x), None, (1, 2, 2)),
    "convolution of frames": lambda x: F.conv2d(x[:, :, 0], WEIGHT[:, :, 0].to(x), None, 1, 1),
    "linear": lambda x: F.linear(x.permute(0, 2, 3, 4, 1), SQUARE.to(x), SQUARE[0].to(x)),
    "batched product": lambda x: x.flatten(0, 1).flatten(2) @ x.flatten(0, 1).flatten(2).transpose(1, 2),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.flatten(3)] * 3),
    "attention over channels": lambda x: F.scaled_dot_product_attention(*[x.permute(0, 2, 3, 4, 1).flatten(2, 3)] * 3),
    "group norm": lambda x: F.group_norm(x, 4, SQUARE[0].to(x), SQUARE[0].to(x)),
    "batch norm": lambda x: F.batch_norm(x, SQUARE[0].to(x), SQUARE[1].square().to(x)),
    "layer norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 4, 1), (8,)),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "mean of frames": lambda x: x.mean((3, 4)),
    "mean over channels": lambda x: x.mean(1, keepdim=True),
    "sum": lambda x: x.sum((0, 2)),
    "sum in other types": lambda x: x.sum((-1,), dtype=torch.double),
    "sum of comparisons": lambda x: (x > 0).sum((1, 2)),
    "count": lambda x: torch.arange(7, device=x.device),
    "repeat": lambda x: x.repeat(2, *[1] * (x.ndim - 1), 3),
    "count from three": lambda x: torch.arange(3, 7, device=x.device),
    "count in floats": lambda x: torch.arange(6.5, dtype=torch.double, device=x.device),
    "triangle": lambda x: torch.ones(4, 5, dtype=torch.bool, device=x.device).tril(1),
    "full": lambda x: torch.full_like(x, 2.0),
    "norm of everything": lambda x: torch.linalg.vector_norm(x),
    "silu": F.silu,
    "clamp": lambda x: x.clamp(-1, 1),
    "sum with a crop": lambda x: x[..., 1:] + x[..., :-1],
    "product with a column": lambda x: x * SQUARE[0].view(-1, 1, 1, 1).to(x),
    "product with one number": lambda x: x * torch.ones((), dtype=torch.double, device=x.device),
    "product with whole numbers": lambda x: x * torch.arange(x.shape[-1], device=x.device),
    "product of numbers": lambda x: torch.ones((), device=x.device) * 0.5,
    "size and sign": lambda x: x.abs() * x.sign(),
    "rounded": lambda x: x.round().maximum(x.floor()),
    "whole numbers": lambda x: torch.arange(5, device=x.device) * 2 - 1,
    "whole numbers and a half": lambda x: torch.arange(5, device=x.device) * 0.5,
    "between": lambda x: torch.lerp(x, x, 0.25),
    "other types": lambda x: x + x.double(),
    "comparison": lambda x: x > 0,
    "in place": lambda x: x.mul_(2).add_(1),
    "out": lambda x: torch.mul(x, 2, out=torch.empty_like(x)),
    "cat along time": lambda x: torch.cat([x, x[:, :, :1]], 2),
    "cat of two layouts": lambda x: torch.cat([x, x.contiguous()], 1),
    "cat from the end": lambda x: torch.cat([x.flatten(2), x.flatten(2)], -1),
    "padding": lambda x: F.pad(x, [1, 1, 2, 0]),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
}


def clip(layout: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    if layout == "channels last":
        return torch.randn(CLIP).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    cropped = torch.randn(2, 8, 3, 8, 7).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    return cropped[:, :, :, 1:-1, 1:-1] if layout == "cropped" else torch.randn(CLIP).to(dtype)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["channels last", "plain", "cropped"])
@pytest.mark.parametrize("name", OPERATORS)
def test_answers_are_the_real_ones(name: str, layout: str) -> None:
    x = clip(layout)
    real = OPERATORS[name](x)
    with LiveStorage():
        counted = OPERATORS[name](x.to("meta") if layout != "cropped" else meta_view(x))
    assert counted.device.type == "meta"
    assert (counted.shape, counted.dtype) == (real.shape, real.dtype)
    longer = [axis for axis, length in enumerate(real.shape) if length > 1]
    assert [counted.stride(a) for a in longer] == [real.stride(a) for a in longer]


def meta_view(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(x.untyped_storage().nbytes() // x.itemsize, device="meta").as_strided(
        x.shape, x.stride(), x.storage_offset()
    )


@torch.no_grad()
def test_double_convolutions_answer_as_they_do() -> None:
    x = clip("channels last", torch.double)
    with LiveStorage():
        counted = OPERATORS["convolution"](x.to("meta"))
    assert counted.stride() == OPERATORS["convolution"](x).stride()


@torch.no_grad()
def test_peak_and_live() -> None:
    x = torch.empty(2**10, device="meta")
    with LiveStorage() as counter:
        y = x + 1
        z = y * 2
        del y
        z.mul_(3)
        z[4:].view(-1)
    assert (counter.live_bytes, counter.peak_bytes) == (2**12, 2**13)
    assert (counter.calls, counter.made_bytes) == (3, 3 * 2**12)
    del z
    assert counter.live_bytes == 0


@torch.no_grad()
def test_views_of_weights_are_not_counted() -> None:
    weight, x = torch.empty(64, 64, device="meta"), torch.empty(1, 64, device="meta")
    with LiveStorage() as counter:
        F.linear(x, weight[:32])
    assert counter.peak_bytes == 32 * 4


@torch.no_grad()
@pytest.mark.parametrize(("device", "extra"), [("cpu", 1), ("cuda", 0)])
def test_convolution_reorders_its_weights_on_cpus(device: str, extra: int) -> None:
    x, weight = empty_clip((1, 16, 3, 8, 8), torch.float32), empty_clip((16, 16, 3, 3, 3), torch.float32)
    with LiveStorage(device) as counter:
        y = F.conv3d(x, weight)
    assert counter.peak_bytes == y.nbytes + extra * weight.nbytes


@torch.no_grad()
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_attention_holds_no_scores(device: str) -> None:
    q = torch.empty(1, 1, 2**14, 64, device="meta")
    with LiveStorage(device) as counter:
        F.scaled_dot_product_attention(q, q, q)
    assert q.nbytes < counter.peak_bytes < 2 * q.nbytes + 2**20 * torch.get_num_threads()


def test_to_meta_copies_structure_only() -> None:
    shared = Conv3d(3, 3)
    module = Chain(shared, Haar((1, 2, 2)), shared)
    module[1].requires_grad_(False)
    with LiveStorage() as counter:
        counted = to_meta(module)
    assert all(t.device.type == "meta" for t in (*counted.parameters(), *counted.buffers()))
    assert counter.peak_bytes == weight_bytes(module) == weight_bytes(counted)
    assert counted[0] is counted[2]
    assert isinstance(counted[0].weight, nn.Parameter)
    assert copy.deepcopy(module[1]).matrix.equal(module[1].matrix)
