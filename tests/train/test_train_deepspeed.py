"""What DeepSpeed is told, and what it cannot do; that it trains as others do, `test_train_killed.py` says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_task import settings

from vidlatent.errors import InputError
from vidlatent.train._accelerate import _settle_deepspeed, make_accelerator, prepare
from vidlatent.train.settings import OptimizerConfig


def plugin(stage: int = 2, **config: Any) -> SimpleNamespace:
    return SimpleNamespace(zero_stage=stage, deepspeed_config=config)


def accelerator(told: SimpleNamespace) -> Any:
    state = SimpleNamespace(deepspeed_plugin=told)
    return SimpleNamespace(distributed_type="DEEPSPEED", state=state, prepare=lambda *both: both)


def test_the_runs_own_file_decides(tmp_path: Path) -> None:
    told = plugin(train_batch_size=64, gradient_accumulation_steps=7, gradient_clipping=9.0, zero_optimization={})
    _settle_deepspeed(told, settings(tmp_path, accumulate=3, precision="bf16"))
    model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    assert not model.weight.is_contiguous()
    prepare(accelerator(told), model, torch.optim.AdamW(model.parameters()), OptimizerConfig(clip_norm=0.5))
    assert model.weight.is_contiguous()
    assert told.deepspeed_config == {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 3,
        "gradient_clipping": 0.5,
        "zero_optimization": {},
        "torch_autocast": {"enabled": True, "dtype": "bfloat16"},
        "bf16": {"enabled": False},
        "fp16": {"enabled": False},
    }
    prepare(accelerator(told), model, torch.optim.AdamW(model.parameters()), OptimizerConfig(clip_norm=None))
    assert told.deepspeed_config["gradient_clipping"] == 0


def test_processes_that_do_not_see_each_other_do_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_accelerator(settings(tmp_path))  # which settles for this process that there is one
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 processes, of which accelerate sees 1"):
        make_accelerator(settings(tmp_path))


def test_what_it_cannot_do_is_told(tmp_path: Path) -> None:
    config = settings(tmp_path)
    with pytest.raises(InputError, match="stage 3"):
        _settle_deepspeed(plugin(3), config)
    with pytest.raises(InputError, match=r"\['optimizer', 'scheduler'\]"):
        _settle_deepspeed(plugin(scheduler={}, optimizer={"type": "Adam"}), config)
    model = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="muon"):
        prepare(accelerator(plugin()), model, torch.optim.AdamW(model.parameters()), OptimizerConfig(name="muon"))
