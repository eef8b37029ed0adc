"""`vidlatent train` under FSDP or DeepSpeed on CPUs. accelerate grants both to GPUs alone, so it is told otherwise.

What `accelerate launch` says of DeepSpeed comes in the environment.
"""

import os
import sys
from typing import Any

from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from vidlatent.train import loop, run

make_unsharded = loop.make_accelerator


def make_sharded(config: Any) -> Any:
    """The accelerator of a run, once its processes are known, with its models sharded."""
    accelerator = make_unsharded(config)
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, state_dict_type="SHARDED_STATE_DICT", auto_wrap_policy="NO_WRAP"
    )
    assert accelerator.is_fsdp2
    return accelerator


def processes_on_cpus(*_: Any) -> tuple[str, DistributedType]:
    """How accelerate reaches other processes."""
    return "gloo", DistributedType.MULTI_CPU


if __name__ == "__main__":
    if os.environ["SHARDED"] == "FSDP2":
        loop.make_accelerator = make_sharded
    elif os.environ["SHARDED"] == "DeepSpeed":
        PartialState._prepare_backend = processes_on_cpus
    run(sys.argv[1], sys.argv[2:], show=print)
