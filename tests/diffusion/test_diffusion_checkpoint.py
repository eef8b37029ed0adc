"""Models as files: whole or not at all, and refused where they are something else."""

from pathlib import Path

import pytest
import torch
from diffusion_helpers import latents, random_dit
from safetensors.torch import save_file

from vidlatent.diffusion import load_model, save_model
from vidlatent.errors import ModelError


@torch.no_grad()
def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    dit = random_dit(causal=True, block=2, window=4, action_dim=3, registers=1, dtype=torch.float32)
    path = save_model(
        dit, tmp_path / "new" / "model.safetensors", metadata={"autoencoder": {"name": "a", "scale": 1.5}}
    )
    again = load_model(path)
    z, t = latents(1, 3, 4, 4, 4).float(), torch.rand(1, 4)
    assert torch.equal(again(z, t), dit(z, t))
    assert again.config == dit.config
    assert again.metadata == {"autoencoder": {"name": "a", "scale": 1.5}}
    assert not again.training
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]
    assert load_model(path, dtype=torch.bfloat16).head.to_out.weight.dtype == torch.bfloat16


@torch.no_grad()
def test_other_weights_and_its_own_metadata(tmp_path: Path) -> None:
    dit = random_dit(dtype=torch.bfloat16)
    dit.metadata = {"steps": 3}
    mean = {name: torch.zeros_like(value) for name, value in dit.state_dict().items()}
    again = load_model(save_model(dit, tmp_path / "m.safetensors", weights=mean))
    assert again.metadata == {"steps": 3}
    assert not any(parameter.any() for parameter in again.parameters())
    assert next(again.parameters()).dtype == torch.bfloat16


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    good = save_model(random_dit(), tmp_path / "good.safetensors")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(good.read_bytes()[:-100])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="torn"):
        load_model(torn)
    with pytest.raises(ModelError, match="not a diffusion model of vidlatent"):
        load_model(foreign)


def test_weights_that_do_not_fit_are_refused_when_loaded(tmp_path: Path) -> None:
    dit = random_dit()
    partial = dict(list(dit.state_dict().items())[:-1])
    with pytest.raises(ModelError, match="do not fit"):
        load_model(save_model(dit, tmp_path / "m.safetensors", weights=partial))
