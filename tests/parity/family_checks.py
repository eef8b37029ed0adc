"""What every family is held to against diffusers: the same numbers, and files that go both ways."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder, Posterior, load, save_pretrained
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.testing import assert_streams_exactly, relative_error


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that leave nothing untested: random norms, biases and gates, activations near one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.eval().requires_grad_(False).named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.1, generator=generator)
        else:
            parameter.uniform_(0.5, 1.5, generator=generator)
    return model


def noise(channels: int, *extent: int, seed: int = 0, dtype: torch.dtype = torch.float) -> Tensor:
    """Uniform in [-1, 1]: (1, channels, *extent)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, *extent, generator=generator, dtype=dtype) * 2 - 1


def ours_of(theirs: nn.Module, folder: Path) -> Autoencoder:
    """Ours with the configuration and the weights that theirs saved, of the same type."""
    theirs.save_pretrained(folder)
    return load(folder, dtype=theirs.dtype)


def unclamped(ours: Autoencoder, latents: Tensor) -> Tensor:
    """What the decoder itself gives: `decode` limits it to the range of pixels, which others leave to pipelines."""
    return ours.decoder(ours.prepare(latents))


def assert_equal(got: Tensor, want: Tensor, tolerance: float) -> None:
    """Same shape, and equal up to `tolerance` of the largest value; of a signal that is not nearly nothing."""
    assert got.shape == want.shape
    assert want.std() > 0.01
    error = relative_error(got, want)
    assert error <= tolerance, f"relative error {error:.2e} exceeds {tolerance:.0e}"


@torch.no_grad()
def assert_files_go_both_ways(theirs: nn.Module, folder: Path) -> None:
    """What we save is loaded by diffusers, with every key of the configuration and every tensor as they were."""
    save_pretrained(ours_of(theirs, folder / "theirs"), folder / "ours")
    back = type(theirs).from_pretrained(folder / "ours", local_files_only=True)
    public = [{k: v for k, v in model.config.items() if k[0] != "_"} for model in (back, theirs)]
    assert public[0] == public[1]
    want = theirs.state_dict()
    assert back.state_dict().keys() == want.keys()
    assert all(torch.equal(tensor, want[name]) for name, tensor in back.state_dict().items())


@torch.no_grad()
def assert_any_clip_comes_back(ae: Autoencoder, frames: int, grid: tuple[int, ...]) -> Posterior:
    """A clip whose size fits nothing has latents of `grid` (t, h, w) and comes back in its own shape."""
    clip = noise(3, frames, 9, 14)
    posterior = ae.encode(clip)
    assert posterior.mean.shape == (1, ae.latent_spec.channels, *grid)
    assert ae.decode(posterior.mean, num_frames=frames, size=posterior.size).shape == clip.shape
    return posterior


def assert_trees_stream(ae: Autoencoder, clip: Sequence[int], latents: Sequence[int], axes: Sequence[int]) -> None:
    """Both trees sweep exactly along `axes` in float64, on noise of so many (T, H, W)."""
    ae, partitions = ae.double(), 4 if len(axes) == 1 else 2
    for tree, channels, extent in ((ae.encoder, 3, clip), (ae.decoder, ae.latent_spec.channels, latents)):
        assert_streams_exactly(tree, noise(channels, *extent, dtype=torch.double), [axes], partitions=partitions)


def assert_every_tensor_has_its_place(kind: type, family: str, config: object) -> None:
    """A published size: diffusers builds exactly the tensors that ours are linked to."""
    published = adapter(family)
    values = {k: v for k, v in published.write_config(config).items() if k[0] != "_"}
    with torch.device("meta"):
        theirs = kind(**values)
    links = published.links(config, shapes_of(without_weights(family, config)), "diffusers")
    others = {name: tuple(tensor.shape) for name, tensor in published.pack(config).items()}
    assert {link.theirs: link.their_shape for link in links} | others == shapes_of(theirs)
