"""Open-Sora 2's video DC-AE equals its authors' code at the same random weights, whose answers are in references/."""

from pathlib import Path

import pytest
import torch
from family_checks import assert_any_clip_comes_back, assert_trees_stream
from upstream_references import assert_authors_answers_are_met

from vidlatent.autoencoders import build, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

NARROW = {
    "latent_channels": 2,
    "widths": (4, 8),
    "encoder_depths": (1, 1),
    "decoder_depths": (1, 1),
    "time_steps": (True,),
    "first_attention": 1,
    "head_dim": 4,
    "scale": 3,
}


@torch.no_grad()
def test_the_authors_answers_are_met() -> None:
    assert_authors_answers_are_met("dc-ae-video")


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("dc-ae-f32t4c128", **NARROW), (3, 4, 4), (2, 3, 1), axes)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5])
def test_any_clip_comes_back_in_its_own_shape(frames: int) -> None:
    ae = build("dc-ae-f32t4c128", **NARROW)
    posterior = assert_any_clip_comes_back(ae, frames, ((frames + 1) // 2, 5, 7))
    assert posterior.logvar is None
    assert torch.equal(ae.normalize(posterior.mean), posterior.mean)


def test_the_authors_names_are_those_of_the_published_size() -> None:
    config = CATALOG["dc-ae-f32t4c128"].config
    shapes = shapes_of(without_weights("dc-ae-video", config))
    names = {link.theirs: link.their_shape for link in adapter("dc-ae-video").links(config, shapes, "original")}
    assert names["encoder.stages.3.op_list.2.context_module.main.aggreg.0.0.weight"] == (1536, 1, 5, 5, 5)
    assert names["decoder.stages.4.op_list.0.main.conv.conv.weight"] == (1024, 1024, 3, 3, 3)
    assert names["encoder.stages.1.op_list.2.main.conv.weight"] == (512, 256, 3, 3, 3)
    assert len(names) == len(shapes)


def test_there_is_no_folder_of_diffusers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="diffusers has no video DC-AE"):
        save_pretrained(build("dc-ae-f32t4c128", **NARROW), tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"time_steps": (True,)}, "time_steps one less"),
        ({"scale": 4}, "scale must be odd"),
        ({"widths": (128, 256, 512, 512, 1024, 384)}, "the last width a multiple of latent_channels|do not divide"),
        ({"encoder_depths": (0, 2, 2, 3, 3, 3)}, "must be at least 1"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("dc-ae-f32t4c128", **fields)
