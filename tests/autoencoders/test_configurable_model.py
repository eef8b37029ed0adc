"""Configurable autoencoders: every part in some combination, swept exactly, with codes, stored and loaded."""

from pathlib import Path

import pytest
import torch

from vidlatent.autoencoders import Autoencoder, load, save_checkpoint
from vidlatent.autoencoders.configurable.config import ConfigurableConfig
from vidlatent.autoencoders.configurable.model import build
from vidlatent.errors import InputError, ModelError
from vidlatent.quantize import BottleneckConfig
from vidlatent.streaming import Plan
from vidlatent.testing import assert_streams_exactly

NARROW = {
    "encoder_widths": (4, 8),
    "decoder_widths": (4, 8),
    "encoder_blocks": (1, 1),
    "decoder_blocks": (1, 1),
    "steps": ((2, 2, 2),),
    "attention": ("none", "none"),
    "groups": 2,
    "head_dim": 4,
}
VARIANTS = {
    "kl": {"bottleneck": BottleneckConfig("kl", channels=4)},
    "haar-fsq": {"patch": "haar", "patch_factors": (2, 2, 2), "norm": "layer", "kernel": "space-time"},
    "movq": {"norm": "group-frame", "conditioned": True, "patch": "none", "kernel": "space", "steps": ((1, 2, 2),)},
    "movq-clip": {"norm": "group-clip", "conditioned": True, "attention": ("none", "frame")},
    "dc-ae": {"shortcuts": True, "step_kind": "fold", "attention": ("none", "linear"), "kernel": "space"},
    "centred": {"time": "centred", "first_frame": "grouped", "shortcuts": True},
    "grouped-vqvae2": {
        "first_frame": "grouped",
        "bottleneck": BottleneckConfig("hierarchical-vq", channels=2, size=8, factors=(2, 2, 2)),
    },
    "residual": {"bottleneck": BottleneckConfig("residual-vq", channels=3, size=8, depth=2)},
}
DEFAULTS = {"haar-fsq": "fsq", "movq": "vq", "movq-clip": "lfq", "dc-ae": "none", "centred": "bsq"}


def made(name: str) -> Autoencoder:
    values = {**NARROW, **VARIANTS[name]}
    kind = DEFAULTS.get(name)
    if kind:
        levels = (4, 3, 3, 2) if kind == "fsq" else ()
        values["bottleneck"] = BottleneckConfig(kind, channels=4, size=8, levels=levels)
    config = ConfigurableConfig(**values)
    torch.manual_seed(0)
    return Autoencoder("configurable", config, build(config)).eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_both_trees_stream_exactly(name: str) -> None:
    ae = made(name).double()
    # a longer clip than one latent of every variant
    assert_streams_exactly(ae.encoder, torch.randn(1, 3, 9, 17, 12).double(), partitions=3)
    latents = ae.encoder(torch.randn(1, 3, 9, 17, 12).double())
    if ae.has_logvar:
        latents = latents.chunk(2, 1)[0]
    assert_streams_exactly(ae.decoder, latents, partitions=3)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (6, 11, 9)])
def test_a_clip_of_any_size_comes_back_in_its_size(name: str, shape: tuple[int, int, int]) -> None:
    ae = made(name)
    posterior = ae.encode(torch.rand(1, 3, *shape) * 2 - 1)
    latents = posterior.mode()
    assert latents.shape[1:] == (ae.latent_spec.channels, *ae.latent_grid(shape))
    video = ae.decode(latents, num_frames=posterior.num_frames, size=posterior.size)
    assert video.shape == (1, 3, *shape)
    if ae.bottleneck and ae.bottleneck.sizes:
        torch.testing.assert_close(ae.from_codes(ae.codes(latents)), latents)
    else:
        with pytest.raises(InputError, match="no codes"):
            ae.codes(latents)


@pytest.mark.parametrize("name", ["residual", "grouped-vqvae2", "haar-fsq"])
def test_a_budget_changes_no_code(name: str) -> None:
    ae = made(name).double()
    video = torch.rand(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    whole = ae.encode(video).mode()
    assert torch.equal(ae.encode(video, plan=Plan((2, 3), chunk=4, strip=16)).mode(), whole)
    torch.testing.assert_close(ae.encode(video, memory="40MiB").mode(), whole)
    torch.testing.assert_close(ae.decode(whole, memory="40MiB"), ae.decode(whole))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_checkpoint_is_the_model(name: str, tmp_path: Path) -> None:
    ae = made(name)
    save_checkpoint(ae, tmp_path / "own.safetensors")
    loaded = load(tmp_path / "own.safetensors")
    assert loaded.config == ae.config
    assert loaded.fingerprint == ae.fingerprint
    video = torch.rand(1, 3, 5, 8, 8) * 2 - 1
    assert torch.equal(loaded.encode(video).mode(), ae.encode(video).mode())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder_widths": (4,)}, "decoder_widths has 1 entries"),
        ({"steps": ()}, "joined by 1 steps"),
        ({"norm": "group-frame", "groups": 3}, "does not divide into 3 groups"),
        ({"attention": ("none", "linear"), "head_dim": 3}, "heads of 3"),
        ({"shortcuts": True, "encoder_widths": (4, 7)}, "a shortcut cannot make 7"),
        ({"time": "centred"}, "asks for time 'causal'"),
        ({"conditioned": True}, "group norms"),
        ({"patch": "haar", "patch_factors": (1, 3, 3)}, "powers of two"),
        ({"bottleneck": BottleneckConfig("hierarchical-vq", factors=(2, 2, 2))}, "first_frame 'grouped'"),
    ],
)
def test_contradictions_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ConfigurableConfig(**{**NARROW, **values})
