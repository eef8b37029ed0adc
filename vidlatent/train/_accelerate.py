"""The one place that knows Hugging Face accelerate: processes, precision, sharding, trackers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from vidlatent.errors import InputError, MissingDependency
from vidlatent.train.settings import LoopConfig


def make_accelerator(config: LoopConfig) -> Any:
    """The accelerator of a run; `accelerate launch` and its configuration file say on what machines.

    Raises `MissingDependency` where accelerate or an asked-for tracker is not installed.
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
    return Accelerator(
        gradient_accumulation_steps=config.accumulate,
        mixed_precision="no" if config.precision == "fp32" else config.precision,
        log_with=list(config.trackers) or None,
        project_dir=str(config.out),
    )


def check_can_hold(accelerator: Any, parts: int) -> None:
    """Raise `InputError` for more models than accelerate takes when it shards them."""
    sharding = "FSDP2" if getattr(accelerator, "is_fsdp2", False) else accelerator.distributed_type
    if parts > 1 and sharding in ("FSDP2", "DEEPSPEED"):
        raise InputError(
            f"accelerate shards one model by {sharding}, and this stage trains {parts} (a discriminator is one): "
            "launch it without sharding, or leave 'adversarial' away"
        )


def make_shardable(accelerator: Any, module: nn.Module) -> None:
    """Lay weights out plainly where they are going to be sharded: FSDP cuts no channels-last ones."""
    if accelerator.distributed_type == "FSDP":
        for weight in module.parameters():
            weight.data = weight.data.contiguous()


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
