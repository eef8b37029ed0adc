"""The one place that knows Hugging Face accelerate: processes, precision, sharding, trackers."""

from __future__ import annotations

from typing import Any

from vidlatent.errors import MissingDependency
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


def seed_all(*numbers: int) -> None:
    """Seed random, numpy and torch by what is to happen next, so that nothing depends on what came before."""
    import numpy as np
    from accelerate.utils import set_seed

    set_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
