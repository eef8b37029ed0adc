"""Pipelines of diffusers run unchanged with an adopted autoencoder, and make the same video."""

from dataclasses import replace

import pytest
import torch
from narrow_models import theirs
from tiny_pipelines import PIPELINES, run
from torch import nn

from vidlatent.autoencoders.tiles import Blocks
from vidlatent.integrations.diffusers import adopt


def autoencoder(name: str) -> nn.Module:
    """The pipeline's autoencoder; Allegro's can do nothing but tile, in blocks made small here."""
    vae = theirs(PIPELINES[name].preset)
    if name == "AllegroPipeline":
        vae.enable_tiling()
        vae.kernel, vae.stride = (12, 32, 32), (8, 16, 16)
    return vae


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi's transformer
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # transformers' image processor
@pytest.mark.parametrize("name", PIPELINES)
def test_the_video_is_the_same(name: str) -> None:
    torch.manual_seed(0)
    pipe, call = PIPELINES[name].make(autoencoder(name)), PIPELINES[name].call
    before, want = pipe.vae, run(pipe, call)
    assert adopt(pipe, memory="1GiB") is pipe
    assert pipe.vae is not before
    assert pipe.vae.ae.fingerprint
    if name == "AllegroPipeline":
        pipe.vae.ae.upstream = replace(pipe.vae.ae.upstream, always=Blocks((3, 4, 4), (2, 2, 2)))
    got = run(pipe, call)
    assert got.shape == want.shape
    assert want.std() > 0.05
    assert (got - want).abs().max() <= 1e-4


def test_the_whole_clip_is_another_video_where_frames_are_published_in_chunks() -> None:
    tiny = PIPELINES["CogVideoXPipeline"]
    torch.manual_seed(0)
    pipe = tiny.make(theirs(tiny.preset))
    want = run(pipe, tiny.call)
    got = run(adopt(pipe, policy="exact"), tiny.call)
    assert (got - want).abs().max() > 1e-2
