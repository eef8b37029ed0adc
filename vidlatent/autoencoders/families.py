"""Every family by name, and an autoencoder made from a configuration and its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vidlatent.autoencoders.base import Autoencoder, Trees
from vidlatent.autoencoders.links import Shape
from vidlatent.autoencoders.published import Published
from vidlatent.autoencoders.tiny.model import TinyConfig
from vidlatent.autoencoders.tiny.model import build as build_tiny
from vidlatent.autoencoders.wan.config import WanConfig
from vidlatent.autoencoders.wan.model import build as build_wan
from vidlatent.autoencoders.wan.published import WAN


@dataclass(frozen=True)
class Family:
    """An architecture: its configuration, how to build it, and how others store it, if they do."""

    config: type
    build: Callable[[Any], Trees]
    published: Published | None = None


FAMILIES: dict[str, Family] = {
    "tiny": Family(TinyConfig, build_tiny),
    "wan": Family(WanConfig, build_wan, WAN),
}


class _WeightsOnMeta(TorchFunctionMode):
    """Weights are born as `torch.empty`: put those on the meta device, and leave constants real."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def without_weights(family: str, config: object) -> Autoencoder:
    """The autoencoder with weights that have shapes only, and take neither memory nor time."""
    with _WeightsOnMeta():
        return Autoencoder(family, config, FAMILIES[family].build(config))


def shapes_of(ae: Autoencoder) -> dict[str, Shape]:
    """Name and shape of every tensor that a checkpoint of `ae` holds."""
    return {name: tuple(tensor.shape) for name, tensor in ae.state_dict().items()}


def with_weights(
    ae: Autoencoder, tensors: Mapping[str, Tensor], *, device: torch.device | str, dtype: torch.dtype
) -> Autoencoder:
    """Give `ae`, made by `without_weights`, its weights (ours by name and shape), copied to `device` and `dtype`."""
    # copied always: the tensors are mapped from a file, which may change or go
    owned = {name: tensor.to(device, dtype, copy=True) for name, tensor in tensors.items()}
    ae.load_state_dict(owned, assign=True)
    del owned  # or each would stay beside its new layout
    trees = Trees(ae.encoder, ae.decoder, ae.latent_spec, ae.has_logvar)
    return Autoencoder(ae.family, ae.config, trees).to(device).eval()  # anew: it lays out the weights it is given
