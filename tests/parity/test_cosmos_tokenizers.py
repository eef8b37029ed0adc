"""Cosmos' other tokenizers, discrete and of images, equal NVIDIA's code, whose answers are in references/."""

from pathlib import Path

import pytest
import torch
from family_checks import assert_any_clip_comes_back, assert_equal, assert_trees_stream, noise
from nvidia_references import SOURCES, our_answers, ours_of_source, source_inputs
from torch import Tensor, nn
from upstream_references import reference

from vidlatent.autoencoders import Autoencoder, build, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.families import shapes_of
from vidlatent.autoencoders.tensor_files import read_tensor_file
from vidlatent.errors import InputError, ModelError
from vidlatent.testing.streams import ALL_AXES

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")

VIDEO = {"encoder_widths": (4, 6, 8, 8), "decoder_widths": (4, 6, 8, 8), "num_res_blocks": 1, "features": 5}
IMAGE = {"widths": (4, 4, 8, 8), "groups": 2, "num_res_blocks": 1, "features": 5}
NARROW = {"cosmos-0.1-dv8x16x16": VIDEO, "cosmos-tokenize1-di8x8-360p": IMAGE}
COSMOS = [name for name, source in SOURCES.items() if source.family.startswith("cosmos")]


@torch.no_grad()
@pytest.mark.parametrize("name", COSMOS)
def test_the_authors_answers_are_met(name: str) -> None:
    ours = ours_of_source(name)
    got, want = our_answers(ours, *source_inputs(name, ours.latent_spec.channels)), reference(name)
    assert got.keys() == want.keys()
    for key, tensor in want.items():
        if key == "codes":
            assert torch.equal(got[key], tensor.long())
        else:
            assert_equal(got[key], tensor, 1e-5)


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize(("name", "clip"), [("cosmos-0.1-dv8x16x16", (9, 31, 16)), (list(NARROW)[1], (3, 23, 16))])
def test_trees_stream_exactly(name: str, clip: tuple[int, ...], axes: tuple[int, ...]) -> None:
    assert_trees_stream(build(name, **NARROW[name]), clip, (2, 3, 2), axes)


@torch.no_grad()
@pytest.mark.parametrize(("name", "grid"), [("cosmos-0.1-dv8x16x16", (2, 1, 1)), (list(NARROW)[1], (3, 2, 2))])
def test_any_clip_comes_back_and_codes_stand_for_latents(name: str, grid: tuple[int, ...]) -> None:
    ae = build(name, **NARROW[name])
    posterior = assert_any_clip_comes_back(ae, 3, grid)
    codes = ae.codes(posterior.mean)
    assert [tuple(code.shape) for code in codes] == [(1, *grid)]
    assert 0 <= codes[0].min() <= codes[0].max() < 64_000
    torch.testing.assert_close(ae.from_codes(codes), posterior.mean)
    assert torch.equal(ae.normalize(posterior.mean), posterior.mean)


def test_a_continuous_tokenizer_has_no_codes() -> None:
    with pytest.raises(InputError, match="cosmos: this autoencoder is continuous"):
        build("cosmos-0.1-cv4x8x8", **VIDEO).codes(noise(16, 1, 1, 1))


@pytest.mark.parametrize("preset", [name for name in CATALOG if name.startswith("cosmos-")])
def test_names_say_what_the_presets_are(preset: str) -> None:
    kind, strides = next(part for part in preset.split("-")[2:] or ["cv8x8x8"] if "x" in part), CATALOG[preset].config
    grid = kind[2:].split("x") if kind[1] == "v" else ["1", *kind[2:].split("x")]
    ae = build(preset, **(VIDEO if kind[1] == "v" else IMAGE))
    assert ae.latent_spec.stride == tuple(map(int, grid))
    assert bool(strides.levels) == (kind[0] == "d") == (ae.bottleneck is not None)


def theirs_of(ours: Autoencoder) -> dict[str, Tensor]:
    """The weights of ours under NVIDIA's names."""
    links, state = adapter(ours.family).links(ours.config, shapes_of(ours), "original"), ours.state_dict()
    return {link.theirs: link.write(state[link.ours]) for link in links}


class Tree(nn.Module):
    """Modules that hold tensors of the given names, as theirs do."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name in {name.split(".")[0] for name in tensors}:
            inner = {key.split(".", 1)[1]: t for key, t in tensors.items() if key.startswith(f"{name}.")}
            if inner:
                self.add_module(name, Tree(inner))
            else:
                self.register_buffer(name, tensors[name])

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("name", NARROW)
def test_nvidias_files_load(name: str, tmp_path: Path) -> None:
    """A compiled program, with the constants that lie in it, and a checkpoint of training."""
    ours = build(name, **NARROW[name], seed=3)
    theirs = theirs_of(ours)
    constants = {"encoder.patcher3d.wavelets": torch.ones(2), "decoder.unpatcher3d._arange": torch.arange(2)}
    constants |= {"quantizer._levels": torch.tensor(ours.config.levels), "quantizer.implicit_codebook": torch.ones(4)}
    torch.jit.script(Tree(theirs | constants)).save(tmp_path / "autoencoder.jit")
    training = {f"network.{key}": tensor for key, tensor in theirs.items()} | {"ema.network-x": torch.zeros(1)}
    torch.save({"model": training}, tmp_path / "model.pt")
    for file in ("autoencoder.jit", "model.pt"):
        got = load_at(ours, tmp_path / file)
        assert got.fingerprint == ours.fingerprint


def load_at(ours: Autoencoder, file: Path) -> Autoencoder:
    """Load with the narrow configuration of `ours`, as `load` does with a preset's."""
    described = Described(ours.family, ours.config)
    return load_published(described, read_tensor_file(file).tensors, file, device="cpu", dtype=torch.float)


def test_half_an_autoencoder_is_refused(tmp_path: Path) -> None:
    ours = build("cosmos-0.1-dv8x16x16", **VIDEO)
    encoder = {key: tensor for key, tensor in theirs_of(ours).items() if not key.startswith("decoder.")}
    torch.jit.script(Tree(encoder)).save(tmp_path / "encoder.jit")
    with pytest.raises(ModelError, match=r"encoder.jit: the weights do not fit .* missing: decoder."):
        load_at(ours, tmp_path / "encoder.jit")


def test_diffusers_has_continuous_video_only(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="AutoencoderKLCosmos has no levels"):
        save_pretrained(build("cosmos-0.1-dv4x8x8", **VIDEO | {"features": None}), tmp_path)
    with pytest.raises(ModelError, match="diffusers has no image tokenizer of Cosmos"):
        save_pretrained(build("cosmos-0.1-ci8x8", **IMAGE), tmp_path)


@pytest.mark.parametrize(
    ("preset", "fields", "said"),
    [
        ("cosmos-0.1-dv4x8x8", {"levels": (8, 8)}, "levels needs 2 or more for each of 6 channels"),
        ("cosmos-0.1-dv4x8x8", {"features": 0}, "features and num_res_blocks must be at least 1"),
        ("cosmos-0.1-di8x8", {"levels": (1,) * 6}, "levels needs 2 or more for each of 6 channels"),
        ("cosmos-0.1-ci8x8", {"space_stride": 2}, r"space_stride 2 with patch_size 4: choose of \[4, 8, 16, 32\]"),
        ("cosmos-0.1-ci8x8", {"groups": 48}, "do not divide into 48 groups"),
        ("cosmos-0.1-ci8x8", {"widths": (32,)}, "2 widths or more"),
    ],
)
def test_contradicting_fields_are_refused(preset: str, fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build(preset, **fields)
