"""DC-AE-V equals its authors' code at the same random weights, chunk by chunk, whose answers are in references/."""

from pathlib import Path

import pytest
import torch
from family_checks import assert_any_clip_comes_back, assert_equal, assert_trees_stream, noise
from nvidia_references import our_answers, ours_of_source, source_inputs
from upstream_references import reference

from vidlatent.autoencoders import build, load, save_checkpoint, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.autoencoders.tensor_files import read_tensor_file
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

PRESET = "dc-ae-v-f32t4c32"
NARROW = {"latent_channels": 2, "widths": (4, 8, 8), "depths": (1, 1, 1), "time_stride": 2, "chunk": 6}


@torch.no_grad()
def test_the_authors_answers_are_met() -> None:
    """Three chunks, each with what is remembered of the one before, then two."""
    ours = ours_of_source("dc-ae-v")
    got = our_answers(ours, *source_inputs("dc-ae-v", ours.latent_spec.channels))
    for name, want in reference("dc-ae-v").items():
        assert_equal(got[name], want, 1e-5)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build(PRESET, **NARROW), (15, 8, 4), (8, 3, 1), axes)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 7, 12])
def test_any_clip_comes_back_in_its_own_shape(frames: int) -> None:
    ae = build(PRESET, **NARROW)
    posterior = assert_any_clip_comes_back(ae, frames, ((frames + 1) // 2, 3, 4))
    assert posterior.logvar is None
    torch.testing.assert_close(ae.normalize(posterior.mean), posterior.mean * 0.7241)


@torch.no_grad()
def test_chunks_do_not_see_what_comes() -> None:
    ae, clip = build(PRESET, **NARROW), noise(3, 12, 8, 8)
    torch.testing.assert_close(ae.encode(clip[:, :, :6]).mean, ae.encode(clip).mean[:, :, :3])


@pytest.mark.parametrize("preset", [name for name in CATALOG if name.startswith("dc-ae-v-")])
def test_names_say_what_the_presets_are(preset: str) -> None:
    config = CATALOG[preset].config
    ae = without_weights("dc-ae-v", config)
    t, space, _ = ae.latent_spec.stride
    assert preset == f"dc-ae-v-f{space}t{t}c{ae.latent_spec.channels}"
    links = adapter("dc-ae-v").links(config, shapes_of(ae), "original")
    names = {link.theirs: link.their_shape for link in links}
    assert names["encoder.stages.2.op_list.9.main.conv1.conv.weight"] == (512, 512, 3, 3, 3)
    assert names["decoder.stages.1.op_list.0.main.conv.conv.weight"] == (1024, 512, 3, 3, 3)
    assert names["decoder.project_out.op_list.2.conv.conv.weight"] == (12, 256, 3, 3, 3)


def test_the_authors_checkpoint_loads(tmp_path: Path) -> None:
    """Of two sets of weights they take the running mean, which is kept by its rate."""
    ours = build(PRESET, **NARROW, seed=3)
    links, state = adapter("dc-ae-v").links(ours.config, shapes_of(ours), "original"), ours.state_dict()
    theirs = {link.theirs: link.write(state[link.ours]) for link in links}
    others = {name: torch.zeros_like(tensor) for name, tensor in theirs.items()}
    for held in ({"model_state_dict": others, "ema_model_state_dict": {0.999: theirs}}, {"model_state_dict": theirs}):
        torch.save({**held, "step": 3}, tmp_path / "dc-ae-v.pt")
        tensors = read_tensor_file(tmp_path / "dc-ae-v.pt").tensors
        described = Described("dc-ae-v", ours.config)
        assert load_published(described, tensors, "", device="cpu", dtype=torch.float).fingerprint == ours.fingerprint
    save_checkpoint(ours, tmp_path / "ours.safetensors")
    assert load(tmp_path / "ours.safetensors").fingerprint == ours.fingerprint
    with pytest.raises(ModelError, match="diffusers has no DC-AE-V"):
        save_pretrained(ours, tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depths": (1,)}, "one entry for each of at least 2 widths"),
        ({"chunk": 10}, "chunk 10 is no multiple of time_stride 4"),
        ({"widths": (256, 512, 512, 1024, 1024, 1023)}, "do not make 1023"),
        ({"latent_channels": 0}, "must be at least 1"),
        ({"scaling_factor": 0.0}, "scaling_factor must be positive"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build(PRESET, **fields)
