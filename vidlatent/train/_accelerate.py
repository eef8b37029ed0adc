"""The one place that knows Hugging Face accelerate: processes, precision, sharding, trackers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from vidlatent.errors import InputError, MissingDependency
from vidlatent.train.settings import LoopConfig, OptimizerConfig

_TORCH_NAMES = {"bf16": "bfloat16", "fp16": "float16"}


def make_accelerator(config: LoopConfig) -> Any:
    """The accelerator of a run; `accelerate launch` and its configuration file say on what machines.

    Raises `MissingDependency` where accelerate or an asked-for tracker is not installed, and `InputError` for what a
    launch cannot do.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.tracking import is_tensorboard_available, is_wandb_available
    except ImportError as error:
        raise MissingDependency("accelerate", "train") from error
    for tracker, available in (("tensorboard", is_tensorboard_available), ("wandb", is_wandb_available)):
        if tracker in config.trackers and not available():
            raise MissingDependency(tracker, "train" if tracker == "tensorboard" else tracker)
    AcceleratorState._reset_state()  # a run before this one in the process may have had another precision
    accelerator = Accelerator(
        gradient_accumulation_steps=config.accumulate,
        mixed_precision="no" if config.precision == "fp32" else config.precision,
        log_with=list(config.trackers) or None,
        project_dir=str(config.out),
    )
    launched = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else accelerator.num_processes
    if launched != accelerator.num_processes:
        raise InputError(
            f"launched as {launched} processes, of which accelerate sees {accelerator.num_processes}: on CPUs launch "
            "with ACCELERATE_USE_CPU=true, and without FSDP and DeepSpeed, which accelerate starts on GPUs only"
        )
    accelerator.gradient_accumulation_steps = config.accumulate  # `accelerate launch` may have said otherwise
    if accelerator.distributed_type == "DEEPSPEED":
        _settle_deepspeed(accelerator.state.deepspeed_plugin, config)
    return accelerator


def _settle_deepspeed(plugin: Any, config: LoopConfig) -> None:
    """What the run's own file decides, whatever DeepSpeed's says of it."""
    settings = plugin.deepspeed_config
    if plugin.zero_stage == 3:
        raise InputError("DeepSpeed's ZeRO stage 3 cuts weights up, which averages need whole: take stage 2, or FSDP2")
    if given := sorted({"optimizer", "scheduler"} & settings.keys()):
        raise InputError(f"DeepSpeed's configuration has {given}: the run's own file has them: remove them there")
    if config.precision != "fp32":  # autocast, as without DeepSpeed: weights and their averages stay float32
        settings["torch_autocast"] = {"enabled": True, "dtype": _TORCH_NAMES[config.precision]}
        settings["bf16"], settings["fp16"] = {"enabled": False}, {"enabled": False}
    settings.pop("train_batch_size", None)
    settings["train_micro_batch_size_per_gpu"] = 1  # only DeepSpeed's own log counts samples
    settings["gradient_accumulation_steps"] = config.accumulate


def check_can_hold(accelerator: Any, parts: int) -> None:
    """Raise `InputError` for more models than accelerate takes when it shards them."""
    sharding = "FSDP2" if getattr(accelerator, "is_fsdp2", False) else accelerator.distributed_type
    if parts > 1 and sharding in ("FSDP2", "DEEPSPEED"):
        raise InputError(
            f"accelerate shards one model by {sharding}, and this stage trains {parts} (a discriminator is one): "
            "launch it without sharding, or leave 'adversarial' away"
        )


def prepare(accelerator: Any, module: nn.Module, optimizer: Any, config: OptimizerConfig) -> tuple[nn.Module, Any]:
    """A module and its optimizer as the machine wraps them. Raises `InputError` for Muon under DeepSpeed."""
    if accelerator.distributed_type == "DEEPSPEED":
        if config.name == "muon":
            raise InputError("optimizer.name=muon: DeepSpeed flattens the matrices that Muon turns: take adamw")
        accelerator.state.deepspeed_plugin.deepspeed_config["gradient_clipping"] = config.clip_norm or 0.0
    if accelerator.distributed_type in ("FSDP", "DEEPSPEED"):
        for weight in module.parameters():  # neither cuts weights that lie channels-last
            weight.data = weight.data.contiguous()
    return accelerator.prepare(module, optimizer)


@contextmanager
def gathered(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, weights that FSDP has cut up are whole, so that parts of a module can be run by themselves."""
    sharded: list[Any] = [part for module in modules for part in module.modules() if hasattr(part, "unshard")]
    for part in sharded:
        part.unshard()
    try:
        yield
    finally:
        for part in sharded:
            part.reshard()


def seed_all(*numbers: int) -> None:
    """Seed random, numpy and torch by what is to happen next, so that nothing depends on what came before."""
    import numpy as np
    from accelerate.utils import set_seed

    set_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
