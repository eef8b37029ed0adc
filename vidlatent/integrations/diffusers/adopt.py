"""Replace the autoencoder of a pipeline by ours, made in memory from the same configuration and weights."""

from __future__ import annotations

from typing import Any, TypeVar

import diffusers
from torch import nn

from vidlatent.autoencoders.base import Autoencoder, Policy
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.errors import InputError, ModelError
from vidlatent.integrations.diffusers.drop_in import DropIn
from vidlatent.integrations.diffusers.kinds import make_drop_in
from vidlatent.streaming.planner import parse_bytes

Adopting = TypeVar("Adopting")

_OTHERWISE = ("kvae", "vidtok")
"""Families whose `encode` gives another kind of distribution than any drop-in does."""

_HOOKS = ("_hf_hook", "_diffusers_hook")
"""Where accelerate and diffusers tie a module to the moving of its weights."""


def adopt(pipe: Adopting, *, memory: int | str | None = None, policy: Policy = "native") -> Adopting:
    """Replace `pipe.vae` by our autoencoder with the same weights; returns `pipe`, which runs unchanged.

    `pipe` is a diffusers pipeline, or an autoencoder alone, whose replacement is returned then. `memory` (bytes or
    "6GiB") bounds what one call of `encode` or `decode` takes, weights, input and answer included. `policy` is what is
    computed: "native", what the replaced autoencoder does without tiling; "exact", the clip as a whole, which differs
    only for families that are published in chunks; "upstream", with diffusers' blended tiles. Raises `ModelError` for a
    class of autoencoder that is not supported, naming those that are, and `InputError` for a pipeline whose weights are
    offloaded already.
    """
    if memory is not None:
        parse_bytes(memory)
    is_alone = isinstance(pipe, nn.Module)
    vae = pipe if is_alone else getattr(pipe, "vae", None)
    if not isinstance(vae, nn.Module):
        raise InputError(
            f"{type(pipe).__name__} has no autoencoder: expected a pipeline whose .vae is one of diffusers'"
        )
    if isinstance(vae, DropIn):
        vae.memory, vae.policy = memory, policy
        return pipe
    if any(hasattr(vae, hook) for hook in _HOOKS):
        raise InputError(
            f"the {type(vae).__name__} of this {type(pipe).__name__} is offloaded already: call adopt() first, then "
            "enable_model_cpu_offload() or what else moves weights"
        )
    ae = from_diffusers(vae)
    ae.check_policy(policy)
    drop_in = make_drop_in(vae, ae, memory, policy)
    if is_alone:
        return drop_in  # type: ignore[return-value]
    pipe.vae = drop_in  # type: ignore[attr-defined]
    # its modules borrow one another's weights, so they move together or not at all
    alone = getattr(pipe, "_exclude_from_cpu_offload", [])
    pipe._exclude_from_cpu_offload = [*alone, "vae"]  # type: ignore[attr-defined]
    return pipe


def from_diffusers(vae: nn.Module) -> Autoencoder:
    """Our autoencoder with the configuration, weights, type and device of one of diffusers'; nothing is written.

    Raises `ModelError` for a class that is not supported, naming those that are.
    """
    known = {family.published.class_name: name for name, family in FAMILIES.items() if family.published}
    families = {kind: name for kind, name in known.items() if hasattr(diffusers, kind) and name not in _OTHERWISE}
    class_name = next((kind.__name__ for kind in type(vae).__mro__ if kind.__name__ in families), None)
    if class_name is None:
        raise ModelError(f"{type(vae).__name__} is not supported; supported are {', '.join(sorted(families))}")
    family = families[class_name]
    values: Any = vae.config
    config = adapter(family).read_config(dict(values), class_name)
    parameter = next(vae.parameters())
    ae = load_published(
        Described(family, config), vae.state_dict(), class_name, device=parameter.device, dtype=parameter.dtype
    )
    return ae.requires_grad_(parameter.requires_grad)
