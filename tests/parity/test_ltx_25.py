"""LTX-2.5 equals diffusers' two models at the same random weights, given the noise that ours begins with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import LTX2VideoDiffusionDecoderModel
from family_checks import assert_any_clip_comes_back, assert_equal, assert_trees_stream, noise, unclamped
from ltx_25_reference import NARROW, authors_file, decode, moved_windows, ours_of, reference, turned_in_double
from safetensors.torch import save_file

import vidlatent as vl
from vidlatent.autoencoders import Autoencoder, build, load_checkpoint, save_checkpoint
from vidlatent.autoencoders.catalog import CATALOG, Entry
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.autoencoders.ltx_25.config import LTX25Config
from vidlatent.autoencoders.ltx_25.denoising import Noise
from vidlatent.errors import ModelError
from vidlatent.streaming import Plan, T
from vidlatent.testing import AutoencoderSuite, relative_error
from vidlatent.testing.streams import ALL_AXES

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")

FIELDS = {name: getattr(NARROW, name) for name in vars(NARROW)}


def assert_models_agree(dtype: torch.dtype, frames: int, tolerance: float) -> None:
    encoder, decoder = reference(NARROW, dtype)
    ours = ours_of(encoder, decoder, NARROW)
    clip = noise(3, frames, 24, 40, dtype=dtype)
    posterior, want = ours.encode(clip), encoder.encode(clip).latent_dist
    assert_equal(posterior.mean, want.mean, tolerance)
    assert_equal(posterior.logvar, want.logvar, tolerance)
    latents = noise(8, 1 + frames // 8, 3, 5, dtype=dtype) * 2
    assert_equal(unclamped(ours, latents), decode(decoder, latents, ours), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [17, 25])
def test_narrow_models_are_equal(frames: int) -> None:
    assert_models_agree(torch.float, frames, 1e-5)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs() -> None:
    with turned_in_double():
        assert_models_agree(torch.double, 17, 1e-12)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal() -> None:
    """Their attention, which would hold a matrix of all pairs, a row of queries at a time."""
    config = LTX25Config()
    encoder, decoder = reference(config)
    ours = ours_of(encoder, decoder, config)
    clip = noise(3, 1, 64, 64)
    assert_equal(ours.encode(clip).mean, encoder.encode(clip).latent_dist.mean, 1e-5)
    latents = noise(128, *config.least) * 2
    got = unclamped(ours, latents)
    del encoder
    with moved_windows():
        assert_equal(got, decode(decoder, latents, ours), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("extent", [(1, 1, 1), (2, 3, 2), (1, 5, 4), (4, 2, 3)])
def test_smaller_clips_are_enlarged_as_the_authors_code_does(extent: tuple[int, int, int]) -> None:
    """diffusers refuses them."""
    encoder, decoder = reference(NARROW)
    ours, latents = ours_of(encoder, decoder, NARROW), noise(8, *extent) * 2
    t, h, w = (max(least - n, 0) for least, n in zip(NARROW.least, extent, strict=True))
    filled = F.pad(latents, (w // 2, w - w // 2, h // 2, h - h // 2, 0, t), mode="replicate")
    frames, rows, columns = 1 + (extent[0] - 1) * 8, extent[1] * 8, extent[2] * 8
    top, left = h // 2 * 8, w // 2 * 8
    want = decode(decoder, filled, ours)[:, :, :frames, top : top + rows, left : left + columns]
    assert_equal(unclamped(ours, latents), want, 1e-5)


def test_the_least_clip_is_what_the_kernels_ask_for() -> None:
    assert LTX25Config().least == (3, 7, 7)
    assert NARROW.least == (3, 3, 3)
    assert replace(NARROW, decoder_kernels=(*NARROW.decoder_kernels[:-1], (27, 7, 21))).least == (5, 3, 6)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("ltx-2.5", **FIELDS), (15, 23, 9), (4, 5, 3), axes)


class TestContract(AutoencoderSuite):
    video_size = (10, 35, 20)
    partitions = 1

    def make(self) -> Autoencoder:
        return build("ltx-2.5", **FIELDS)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 10])
def test_any_clip_comes_back_in_its_own_shape(frames: int) -> None:
    assert_any_clip_comes_back(build("ltx-2.5", **FIELDS), frames, (1 + (frames + 6) // 8, 2, 2))


@torch.no_grad()
def test_noise_belongs_to_its_place_and_seed() -> None:
    ae, latents = build("ltx-2.5", **FIELDS), noise(8, 4, 4, 5)
    other = build("ltx-2.5", **{**FIELDS, "noise_seed": 1})
    other.load_state_dict(ae.state_dict())
    assert relative_error(unclamped(other, latents), unclamped(ae, latents)) > 1e-3
    assert torch.equal(unclamped(ae, latents), unclamped(ae, latents))
    layer = Noise(12, 4, seed=3)
    rows = torch.stack([layer.noise(frame, row, 500) for frame in range(3) for row in range(3)])
    assert abs(rows.mean()) < 0.02
    assert abs(rows.std() - 1) < 0.02
    assert torch.corrcoef(rows.flatten(1)).sub(torch.eye(9)).abs().max() < 0.1


@torch.no_grad()
def test_clips_of_a_batch_are_decoded_as_each_alone() -> None:
    ae, latents = build("ltx-2.5", **FIELDS), torch.cat([noise(8, 3, 3, 5), noise(8, 3, 3, 5, seed=1)])
    both = unclamped(ae, latents)
    for index in range(2):
        assert relative_error(both[index], unclamped(ae, latents[index : index + 1])[0]) <= 1e-5


def narrow_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOG, "ltx-2.5", Entry("ltx-2.5", NARROW, "see model card"))


def test_a_file_of_a_whole_pipeline_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_catalogue(monkeypatch)
    encoder, decoder = reference(NARROW)
    tensors = authors_file(encoder, decoder, NARROW)
    tensors |= {"model.diffusion_model.proj_in.weight": torch.zeros(3), "vae.decoder.coarse_head.weight": torch.ones(2)}
    save_file(tensors, tmp_path / "ltx.safetensors")
    ours = vl.load("ltx-2.5", weights=tmp_path / "ltx.safetensors")
    config = replace(NARROW, mean=tuple(encoder.latents_mean.tolist()), std=tuple(encoder.latents_std.tolist()))
    assert ours.config == config
    latents = noise(8, 2, 2, 2)
    mean, std = (part.view(1, -1, 1, 1, 1) for part in (encoder.latents_mean, encoder.latents_std))
    torch.testing.assert_close(ours.normalize(latents), (latents - mean) / std)
    save_checkpoint(ours, tmp_path / "ours.safetensors")
    assert load_checkpoint(tmp_path / "ours.safetensors").fingerprint == ours.fingerprint
    del tensors["vae.decoder.conv_in_x_t.bias"]
    save_file(tensors, tmp_path / "torn.safetensors")
    with pytest.raises(ModelError, match=r"1 missing: decoder\.conv_in_x_t\.bias"):
        vl.load("ltx-2.5", weights=tmp_path / "torn.safetensors")


@torch.no_grad()
def test_gates_of_distilled_checkpoints_are_multiplied_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_catalogue(monkeypatch)
    encoder, decoder = reference(NARROW)
    tensors, gated, seed = authors_file(encoder, decoder, NARROW), {}, torch.Generator().manual_seed(0)
    for index in range(NARROW.decoder_blocks[-1]):
        block = f"vae.decoder.diff_blocks.{index}"
        for gate, layer in (("gate_msa", "attn.proj"), ("gate_mlp", "mlp.w_down"), ("gate_ctx", "context_proj")):
            weight = tensors[f"{block}.{layer}.weight"]
            factor = gated[f"{block}.{gate}"] = torch.rand(len(weight), generator=seed) + 0.5
            gated[f"{block}.{layer}.weight"] = weight / factor[:, None]
            if f"{block}.{layer}.bias" in tensors:
                gated[f"{block}.{layer}.bias"] = tensors[f"{block}.{layer}.bias"] / factor
    save_file(tensors | gated, tmp_path / "distilled.safetensors")
    ours, want = vl.load("ltx-2.5", weights=tmp_path / "distilled.safetensors"), ours_of(encoder, decoder, NARROW)
    for name, tensor in want.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    config = LTX25Config()
    with torch.device("meta"):
        theirs = LTX2VideoDiffusionDecoderModel()
    ours = without_weights("ltx-2.5", config)
    stored = {link.theirs: link.their_shape for link in adapter("ltx-2.5").links(config, shapes_of(ours), "original")}
    encoder = without_weights("ltx-2", CATALOG["ltx-2.3"].config)
    links = adapter("ltx-2").links(encoder.config, shapes_of(encoder), "original")
    want = {link.theirs: link.their_shape for link in links if link.theirs.startswith("encoder.")}
    assert {name: shape for name, shape in stored.items() if name.startswith("encoder.")} == want
    empty = authors_file(None, theirs, config)
    assert {f"vae.{n}": shape for n, shape in stored.items() if n not in want} == shapes_of_tensors(empty)


def shapes_of_tensors(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decoder_blocks": (1, 1)}, "decoder_blocks must have 5 entries"),
        ({"upsample": ((1, 2, 2),) * 4}, "the decoder enlarges by"),
        ({"decoder_kernels": ((2, 3, 3),) * 5}, "decoder_kernels must be odd"),
        ({"head_dim": 12}, "must be multiples of head_dim"),
        ({"std": (1.0,)}, "std must have 128 entries, got 1"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        LTX25Config(**fields)


def test_no_folder_of_diffusers_holds_both(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"diffusers has no LTX-2\.5 in one folder"):
        build("ltx-2.5", **FIELDS).save_pretrained(tmp_path)


@torch.no_grad()
def test_frames_come_out_before_all_latents_are_in() -> None:
    ae, latents = build("ltx-2.5", **FIELDS), noise(8, 12, 3, 5)
    with ae.stream_decoder(plan=Plan((T,), chunk=1)) as stream:
        counts = [stream.push(latent).shape[T] for latent in latents.split(1, T)]
        rest = stream.finish().shape[T]
    assert sum(counts) + rest == 89
    assert sum(counts[:-1]) > 30
