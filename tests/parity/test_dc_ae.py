"""DC-AE equals diffusers' on every frame, with batch norms and scales or without."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC
from diffusers.loaders.single_file_utils import convert_autoencoder_dc_checkpoint_to_diffusers
from family_checks import (
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    noise,
    ours_of,
    randomise,
    unclamped,
)
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder, build, load, models, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of
from vidlatent.errors import ModelError
from vidlatent.testing import assert_streams_exactly
from vidlatent.testing.streams import ALL_AXES

PRESETS = [name for name in models() if CATALOG[name].family == "dc-ae"]
SMALL = {"latent_channels": 4, "head_dim": 4}


def narrowed(preset: str, divisor: int) -> dict[str, object]:
    """The published architecture with fewer channels, and at most two blocks a level."""
    config = CATALOG[preset].config
    widths = {f"{side}_widths": tuple(w // divisor for w in config.encoder_widths) for side in ("encoder", "decoder")}
    depths = {f"{side}_depths": tuple(min(d, 2) for d in config.encoder_depths) for side in ("encoder", "decoder")}
    return {**SMALL, **widths, **depths}


def reference(preset: str, divisor: int = 32) -> AutoencoderDC:
    config = replace(CATALOG[preset].config, **narrowed(preset, divisor))
    values = {k: v for k, v in adapter("dc-ae").write_config(config).items() if k[0] != "_"}
    with torch.no_grad():
        return with_statistics(randomise(AutoencoderDC(**values)))


def with_statistics(model: AutoencoderDC) -> AutoencoderDC:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.linspace(-0.5, 0.5, module.num_features))
            module.running_var.copy_(torch.linspace(0.5, 1.5, module.num_features))
    return model


def on_frames(apply: object, clip: Tensor) -> Tensor:
    return torch.stack([apply(frame) for frame in clip.unbind(2)], 2)


def assert_equal_models(ours: Autoencoder, theirs: AutoencoderDC, clip: Tensor, tolerance: float) -> None:
    want, posterior = on_frames(lambda frame: theirs.encode(frame).latent, clip), ours.encode(clip)
    assert posterior.logvar is None
    assert_equal(posterior.mean, want, tolerance)
    assert_equal(unclamped(ours, want), on_frames(lambda frame: theirs.decode(frame).sample, want), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
def test_models_are_equal(preset: str, tmp_path: Path) -> None:
    theirs = reference(preset)
    ours = ours_of(theirs, tmp_path)
    step = ours.latent_spec.stride[1]
    assert_equal_models(ours, theirs, noise(3, 2, 2 * step, 3 * step), 1e-5)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("preset", ["dc-ae-f32c32-sana", "dc-ae-lite-f32c32-sana", "dc-ae-1.5-f32c128"])
def test_the_published_width_is_equal(preset: str, tmp_path: Path) -> None:
    values = adapter("dc-ae").write_config(CATALOG[preset].config)
    theirs = randomise(AutoencoderDC(**{k: v for k, v in values.items() if k[0] != "_"}))
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, 1, 64, 96), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["dc-ae-f32c32-sana", "dc-ae-f32c32", "dc-ae-1.5-f32c128"])
def test_in_double_only_the_order_of_summation_differs(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs works in float32 at times, whatever it is given; not here."""
    convert = Tensor.to

    def keep_double(self: Tensor, *args: object, **options: object) -> Tensor:
        wanted = (*args, *options.values())
        return self if self.dtype == torch.double and torch.float32 in wanted else convert(self, *args, **options)

    theirs = reference(preset).double()
    ours = ours_of(theirs, tmp_path)
    monkeypatch.setattr(Tensor, "to", keep_double)
    assert_equal_models(ours, theirs, noise(3, 1, 64, 96, dtype=torch.double), 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize("preset", ["dc-ae-f32c32-sana", "dc-ae-f32c32"])
def test_trees_stream_exactly(preset: str, axes: tuple[int, ...]) -> None:
    ae = build(preset, **narrowed(preset, 64) | {"head_dim": 2}).double()
    assert_streams_exactly(ae.encoder, noise(3, 2, 95, 32, dtype=torch.double), [axes], partitions=2)
    assert_streams_exactly(ae.decoder, noise(4, 2, 4, 1, dtype=torch.double), [axes], partitions=3)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae, clip = build("dc-ae-f64c128", **narrowed("dc-ae-f64c128", 32)), noise(3, 3, 65, 20)
    posterior = ae.encode(clip)
    assert posterior.mean.shape == (1, 4, 3, 2, 1)
    assert ae.decode(posterior.mean, size=posterior.size).shape == clip.shape
    torch.testing.assert_close(ae.normalize(posterior.mean), posterior.mean * 0.4538)


@pytest.mark.parametrize("preset", PRESETS)
def test_files_go_both_ways(preset: str, tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(preset), tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["dc-ae-f32c32-sana", "dc-ae-f32c32", "dc-ae-1.5-f32c128"])
def test_the_authors_names_are_those_that_diffusers_converts(preset: str, tmp_path: Path) -> None:
    theirs = reference(preset)
    ours = ours_of(theirs, tmp_path / "folder")
    links = adapter("dc-ae").links(ours.config, shapes_of(ours), "original")
    original = {link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}
    back = convert_autoencoder_dc_checkpoint_to_diffusers(dict(original))
    want = {name: tensor for name, tensor in theirs.state_dict().items() if "num_batches_tracked" not in name}
    assert back.keys() == want.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in want.items())
    torch.save(original, tmp_path / "dc-ae.pt")
    save_pretrained(build(preset, **narrowed(preset, 32)), tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "dc-ae.pt").fingerprint == ours.fingerprint


@pytest.mark.parametrize("preset", PRESETS)
def test_every_tensor_of_the_published_size_has_its_place(preset: str) -> None:
    assert_every_tensor_has_its_place(AutoencoderDC, "dc-ae", CATALOG[preset].config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decoder_depths": (3, 3)}, "decoder_depths has 2 entries for the 6 levels"),
        ({"encoder_depths": (2, 0, 2, 2, 2, 2)}, "encoder_depths .* only the first level may have no blocks"),
        ({"latent_channels": 0}, "widths of at least 1"),
        ({"latent_channels": 48}, "encoder_widths end with 1024, no multiple of 48 latent channels"),
        ({"encoder_widths": (128, 200, 512, 512, 1024, 1024)}, "512 channels do not divide by 200"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said), torch.device("meta"):
        build("dc-ae-f32c32-sana", **fields)


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="out_activation"):
        adapter("dc-ae").read_config({"decoder_conv_act_fn": "gelu"}, "config.json")
    with pytest.raises(ModelError, match="encoder_blocks"):
        adapter("dc-ae").read_config({"encoder_block_types": "MambaBlock"}, "config.json")
