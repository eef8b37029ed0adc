"""diffusers' LTX-2.5 with random weights, narrowed: the encoder of LTX-2.3, and the decoder that denoises."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from unittest.mock import patch

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLLTX2Video, LTX2VideoDiffusionDecoderModel
from diffusers.models.autoencoders import ltx2_diffusion_decoder as upstream
from family_checks import randomise
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.autoencoders.ltx_25.config import LTX25Config
from vidlatent.autoencoders.ltx_25.denoising import Noise

NARROW = LTX25Config(
    latent_channels=8,
    patch_size=2,
    encoder_widths=(16, 32, 64, 64),
    encoder_blocks=(1, 2, 1, 1, 1),
    downsample_kinds=("spatial", "temporal", "temporal", "spatiotemporal"),
    decoder_widths=(64, 64, 32, 32, 32),
    decoder_blocks=(1, 2, 1, 1, 2),
    decoder_kernels=((3, 3, 3), (3, 3, 5), (3, 5, 5), (3, 5, 3), (5, 7, 3)),
    upsample=((1, 2, 2), (2, 1, 1), (2, 1, 1), (2, 2, 2)),  # their mask is a matrix of all pairs: few positions
    head_dim=16,
    time_channels=16,
)
_NO_DECODER = {"decoder_block_out_channels": (8, 8, 8, 8), "decoder_layers_per_block": (1,) * 5}
"""As little as can be of what is not used."""
_RENAMED = (
    ("t_embedder.timestep_embedder.linear_1.", "t_embedder.mlp.0."),
    ("t_embedder.timestep_embedder.linear_2.", "t_embedder.mlp.2."),
    (".attn.to_out.0.", ".attn.proj."),
    (".attn.norm_q.", ".attn.q_norm."),
    (".attn.norm_k.", ".attn.k_norm."),
)


@torch.no_grad()
def reference(config: LTX25Config, dtype: torch.dtype = torch.float) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder, each a model of diffusers."""
    values = {k: v for k, v in adapter("ltx-2").write_config(config.encoder).items() if k[0] != "_"}
    encoder = AutoencoderKLLTX2Video(**{**values, **_NO_DECODER})
    t, space, _ = config.decoder_stride
    decoder = LTX2VideoDiffusionDecoderModel(
        latent_channels=config.latent_channels,
        patch_size=config.patch_size,
        decoder_head_dim=config.head_dim,
        decoder_stage_channels=config.decoder_widths,
        decoder_stage_depths=config.decoder_blocks,
        decoder_stage_kernels=config.decoder_kernels[:-1],
        decoder_stage5_kernel=config.decoder_kernels[-1],
        decoder_upsample_strides=config.upsample,
        decoder_upsample_channel_reductions=[before // after for before, after in config.steps],
        decoder_t_emb_dim=config.time_channels,
        spatial_compression_ratio=space,
        temporal_compression_ratio=t,
    )
    randomise(encoder)
    randomise(decoder, 1)
    encoder.latents_mean.uniform_(-1.0, 1.0, generator=torch.Generator().manual_seed(2))
    encoder.latents_std.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(3))
    return encoder.to(dtype), decoder.to(dtype)


def authors_file(encoder: nn.Module | None, decoder: nn.Module, config: LTX25Config) -> dict[str, Tensor]:
    """The tensors of both as the authors store them, by the rules of diffusers' converter, backwards."""
    tensors = {} if encoder is None else _encoder_of(encoder, config)
    theirs = decoder.state_dict()
    for name in [name for name in theirs if name.startswith("decoder.")]:
        tensor, stem = theirs[name], name
        for old, new in _RENAMED:
            stem = stem.replace(old, new)
        if ".to_q." in name:
            tensor = torch.cat([theirs[name.replace(".to_q.", f".to_{part}.")] for part in "qkv"])
            stem = stem.replace(".to_q.", ".qkv.")
        if ".to_k." not in name and ".to_v." not in name:
            tensors[f"vae.{stem}"] = tensor
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _encoder_of(encoder: nn.Module, config: LTX25Config) -> dict[str, Tensor]:
    """The encoder's tensors and the statistics, under the names that test_ltx_files.py holds to that converter."""
    shapes = shapes_of(without_weights("ltx-2", config.encoder))
    theirs, authors = (adapter("ltx-2").links(config.encoder, shapes, naming) for naming in ("diffusers", "original"))
    names = {a.theirs: b.theirs for a, b in zip(theirs, authors, strict=True) if a.theirs.startswith("encoder.")}
    state = encoder.state_dict()
    return {
        **{f"vae.{name}": state[theirs] for theirs, name in names.items()},
        "vae.per_channel_statistics.mean-of-means": encoder.latents_mean,
        "vae.per_channel_statistics.std-of-means": encoder.latents_std,
    }


def ours_of(encoder: nn.Module, decoder: nn.Module, config: LTX25Config) -> Autoencoder:
    """Ours with the weights of both, of their type."""
    tensors = authors_file(encoder, decoder, config)
    return load_published(Described("ltx-2.5", config), tensors, "theirs", device="cpu", dtype=encoder.dtype)


def decode(decoder: nn.Module, latents: Tensor, ours: Autoencoder) -> Tensor:
    """Their decoder, which begins with the noise that ours begins with."""
    noise = next(module for module in ours.decoder.modules() if isinstance(module, Noise))
    patch_size = decoder.config.patch_size

    def draw(shape: tuple[int, ...], dtype: torch.dtype, **_: object) -> Tensor:
        b, _, t, h, w = shape
        rows = [noise.noise(i, j, w // patch_size) for i in range(t) for j in range(h // patch_size)]
        drawn = torch.stack(rows).view(t, h // patch_size, w // patch_size, -1).permute(3, 0, 1, 2)
        return upstream._unpatchify(drawn.expand(b, -1, -1, -1, -1), patch_size).to(dtype)

    with patch.object(upstream, "randn_tensor", draw):
        return decoder.decode(latents).sample


def turned_in_double() -> patch:
    """Their rotations are worked out and applied in float32, whatever they are given."""

    def rotate(self: nn.Module, x: Tensor, positions: Tensor, inv_freqs: Tensor, axis: int) -> Tensor:
        shape = [1, 1, 1, 1, 1, len(inv_freqs)]
        shape[axis] = len(positions)
        angles = (positions.double()[:, None] * inv_freqs.double()).view(shape)
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    return patch.object(upstream.LTX2VideoVaeRotaryPosEmbed3D, "_rotate_axis", rotate)


@contextmanager
def moved_windows() -> Iterator[None]:
    """Their attention for larger clips: a row of queries at a time, with the windows that their mask describes."""

    def attend(self: object, attn: nn.Module, x: Tensor, block_mask: None) -> Tensor:
        queries, keys, values = (part.movedim(4, 2) for part in attn.project_qkv(x))  # (B, T, heads, H, W, head_dim)
        sizes, out = [*zip(x.shape[1:4], attn.kernel_size, strict=True)], torch.empty_like(x)
        frames, rows, columns = ([min(max(i - k // 2, 0), n - k) for i in range(n)] for n, k in sizes)
        ahead = torch.arange(len(columns)) - torch.tensor(columns)[:, None]
        (_, kt), (_, kh), (_, kw) = sizes
        sees = ((ahead >= 0) & (ahead < kw)).repeat(1, kt * kh)
        for (t, top), (h, left) in product(enumerate(frames), enumerate(rows)):
            seen = slice(None), slice(top, top + kt), slice(None), slice(left, left + kh)
            k, v = (part[seen].transpose(1, 2).flatten(2, 4) for part in (keys, values))
            row = F.scaled_dot_product_attention(queries[:, t, :, h], k, v, attn_mask=sees, scale=1.0)
            out[:, t, h] = row.transpose(1, 2).flatten(2)
        return attn.to_out[0](out)

    with (
        patch.object(upstream, "_neighborhood_block_mask", lambda *_: None),
        patch.object(upstream.LTX2VideoVaeNeighborhoodAttnProcessor, "__call__", attend),
    ):
        yield
