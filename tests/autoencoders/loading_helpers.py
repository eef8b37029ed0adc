"""What the tests of loading share: a small Wan, its names in the authors' checkpoints, one-line errors."""

import json
from pathlib import Path

import pytest
import torch

from vidlatent.autoencoders import Autoencoder, build, load
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of
from vidlatent.errors import ModelError

SMALL = {"base_dim": 4, "latent_channels": 2, "num_res_blocks": 1, "mean": (0.5, -1.0), "std": (2.0, 3.0)}


def small_wan(seed: int = 1) -> Autoencoder:
    return build("wan-2.1", seed=seed, **SMALL)


def original(ae: Autoencoder) -> dict[str, torch.Tensor]:
    """The weights under the names of Wan's authors."""
    links, state = adapter("wan").links(ae.config, shapes_of(ae), "original"), ae.state_dict()
    return {link.theirs: link.write(state[link.ours]) for link in links}


def edit(folder: Path, **changes: object) -> None:
    """Change keys of config.json; None as `...` removes one."""
    values = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not ...}))


def refused(said: str, *args: object, **options: object) -> str:
    with pytest.raises(ModelError, match=said) as caught:
        load(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message
