"""References for families that diffusers has not: what their authors' code computes, at weights drawn by name.

    python tests/parity/upstream_references.py wf-vae CHECKOUT [--published]

runs the code in CHECKOUT, a clone of the repository named in `SOURCES`, prints how far we are from it, and writes
`references/FAMILY.safetensors`, which tests compare with; with `--published`, at the published size, it only prints.
"""

import argparse
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from family_checks import assert_equal, noise, unclamped
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.families import FAMILIES, shapes_of, without_weights
from vidlatent.autoencoders.tiles import Runs, Tiles
from vidlatent.autoencoders.upstream import run_as_published
from vidlatent.testing import relative_error

FOLDER = Path(__file__).parent / "references"


Theirs = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""A model of theirs, and what makes moments of a clip, and video of latents."""


@dataclass(frozen=True)
class Source:
    """Whose code, which fields of our configuration make a narrow model, and the sizes that are compared.

    `published` are those fields of the published model that are no defaults. `cut` turns on theirs to take a clip in
    parts, `small` makes ours take as small ones; that is compared on `large` clips and latents.
    """

    repository: str
    narrow: Mapping[str, object]
    clip: tuple[int, int, int]
    latents: tuple[int, int, int]
    run: Callable[[Any], Theirs]
    published: Mapping[str, object] = field(default_factory=dict)
    cut: Callable[[Any], None] | None = None
    small: Callable[[Autoencoder], None] = lambda ours: None
    large: tuple[tuple[int, int, int], tuple[int, int, int]] = ((33, 16, 16), (9, 2, 2))


def drawn(name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float) -> Tensor:
    """Random weights that depend on their name alone: norms' scales about one, activations near one."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.empty(shape, dtype=torch.double)
    if len(shape) > 1:
        values.normal_(0.0, values[0].numel() ** -0.5, generator=generator)
    elif name.endswith("bias"):
        values.normal_(0.0, 0.1, generator=generator)
    else:
        values.uniform_(0.5, 1.5, generator=generator)
    return values.to(dtype)


def ours_at(family: str, values: Mapping[str, object], dtype: torch.dtype = torch.float) -> Autoencoder:
    """Ours with the weights that `drawn` gives for the authors' names."""
    config = FAMILIES[family].config(**values)
    links = adapter(family).links(config, shapes_of(without_weights(family, config)), "original")
    tensors = {link.theirs: drawn(link.theirs, link.their_shape, dtype) for link in links}
    return load_published(Described(family, config), tensors, "drawn", device="cpu", dtype=dtype)


def inputs(family: str, *, large: bool = False) -> tuple[Tensor, Tensor]:
    """The clip and the latents of a reference, or of one in parts."""
    source = SOURCES[family]
    channels = FAMILIES[family].config(**source.narrow).latent_channels
    clip, latents = source.large if large else (source.clip, source.latents)
    return noise(3, *clip), noise(channels, *latents, seed=1)


def answers_in_parts(ours: Autoencoder, clip: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """What ours makes of them by `policy="upstream"`: moments, and every third row and column of the video."""
    SOURCES[ours.family].small(ours)
    moments, video = (
        run_as_published(ours, way, x, None, "upstream") if ours.upstream.differs("upstream") else ours.tree(way)(x)
        for way, x in (("encode", clip), ("decode", latents))
    )
    return {"moments_in_parts": moments, "video_in_parts": thinned(video)}


def thinned(video: Tensor) -> Tensor:
    """Every third row and column, which keeps the files small."""
    return video[..., ::3, ::3]


def answers(ours: Autoencoder, clip: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """What ours makes of them: moments, and video."""
    return {"moments": ours.encoder(ours.prepare(clip)), "video": unclamped(ours, latents)}


def reference(family: str) -> dict[str, Tensor]:
    """What theirs made of them."""
    return load_file(FOLDER / f"{family}.safetensors")


def assert_authors_answers_are_met(family: str) -> None:
    """Ours at the narrow size, of whole clips and in parts, against what theirs made of them."""
    ours = ours_at(family, SOURCES[family].narrow)
    got = answers(ours, *inputs(family))
    if SOURCES[family].cut is not None:
        got |= answers_in_parts(ours, *inputs(family, large=True))
    want = reference(family)
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert_equal(got[name], tensor, 1e-5)


def _wf_vae(config: Any) -> Theirs:
    from causalvideovae.model.vae.modeling_wfvae import WFVAEModel

    values = adapter("wf-vae").write_config(config)
    model = WFVAEModel(**{key: value for key, value in values.items() if key[0] != "_"})
    return model, lambda x: model.encode(x).latent_dist.parameters, lambda z: model.decode(z).sample


def _stand_in(name: str, **contents: object) -> None:
    """A module in the place of one that imports what only training needs."""
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(contents)


def _video_dc_ae(config: Any) -> Theirs:
    _stand_in("opensora.models", __path__=[f"{sys.path[0]}/opensora/models"])
    _stand_in("opensora.acceleration.checkpoint", auto_grad_checkpoint=lambda module, *x: module(*x))
    _stand_in("opensora.registry", MODELS=SimpleNamespace(register_module=lambda _: lambda function: function))
    _stand_in("opensora.utils.ckpt", load_checkpoint=None)
    _stand_in("opensora.models.vae.utils", ChannelChunkConv3d=nn.Conv3d)  # the same below 2^31 numbers
    from opensora.models.dc_ae.models.dc_ae import DCAE, dc_ae_f32

    values = dc_ae_f32("dc-ae-f32t4c128", None)
    levels = range(len(config.widths))
    for side in (values.encoder, values.decoder):
        side.width_list, side.in_channels, side.latent_channels = list(config.widths), 3, config.latent_channels
        side.block_type = ["ResBlock" if level < config.first_attention else "EViTS5_GLU" for level in levels]
    values.encoder.depth_list, values.decoder.depth_list = config.encoder_depths, config.decoder_depths
    values.encoder.temporal_downsample = values.decoder.temporal_upsample = [*config.time_steps, False]
    values.latent_channels, values.spatial_compression_ratio = config.latent_channels, config.spec.stride[1]
    model = DCAE(values)
    model.decoder.disc_off_grad_ckpt = True
    return model, model.encode, model.decode


def _lean_vae(config: Any) -> Theirs:
    _stand_in("LeanVAE", __path__=[f"{sys.path[0]}/LeanVAE"])
    _stand_in("LeanVAE.modules.lpips", LPIPS=None)
    _stand_in("pywt")
    from LeanVAE.models.autoencoder import LeanVAE

    model = LeanVAE(
        SimpleNamespace(
            latent_dim=config.latent_channels,
            l_dim=config.low,
            h_dim=config.high,
            embedding_dim=config.low + config.high,
            sep_num_layer=config.apart_layers,
            fusion_num_layer=config.joint_layers,
            ista_iter_num=config.steps,
            ista_layer_num=config.step_layers,
            use_tile_inference=False,
        )
    )

    def moments(x: Tensor) -> Tensor:
        features = model.encoder.encode(model.dwt(x))
        parts = torch.cat([model.latent_bottleneck.sample(features), model.std_layer(features)], -1)
        return parts.permute(0, 4, 1, 2, 3)

    return model, moments, model.decode


def _vidtok(config: Any) -> Theirs:
    """Version 1.0, which diffusers does not have."""
    _stand_in("vidtok.modules.util", checkpoint=None, print0=None)
    from vidtok.modules.model_3dcausal import DecoderCausal3DPadding, EncoderCausal3DPadding

    values = {
        "ch": config.base,
        "ch_mult": config.multipliers,
        "num_res_blocks": config.num_res_blocks,
        "z_channels": config.latent_channels,
        "time_downsample_factor": config.spec.stride[0],
        "norm_type": "layernorm",
        "init_pad_mode": "replicate",
        "in_channels": 3,
        "out_ch": 3,
    }
    model = nn.Module()
    model.encoder, model.decoder = EncoderCausal3DPadding(**values), DecoderCausal3DPadding(**values)
    return model, model.encoder, model.decoder


def _small_tiles(ours: Autoencoder) -> None:
    """Four latents, three apart."""
    ours.upstream = replace(ours.upstream, tiles=Tiles((4, 4), (3, 3)), tiled_runs=Runs(4, 3, single=False))


def _tile_video_dc_ae(model: Any) -> None:
    model.use_spatial_tiling = model.use_temporal_tiling = True
    model.spatial_tile_latent_size = model.temporal_tile_latent_size = 4
    model.spatial_tile_size, model.temporal_tile_size = 4 * model.spatial_compression_ratio, 16


def _tile_lean_vae(model: Any) -> None:
    model.tile_inference = True  # `set_tile_inference` leaves this one, and with it does nothing
    model.set_tile_inference(True)


SOURCES = {
    "wf-vae": Source(
        "github.com/PKU-YuanGroup/WF-VAE",
        {
            "latent_channels": 3,
            "base": 8,
            "encoder_blocks": 1,
            "decoder_blocks": 1,
            "encoder_flow": 4,
            "decoder_flow": 6,
        },
        (13, 16, 24),
        (3, 2, 3),
        _wf_vae,
        cut=lambda model: model.enable_tiling(),
    ),
    "dc-ae-video": Source(
        "github.com/hpcaitech/Open-Sora",
        {
            "latent_channels": 4,
            "widths": (16, 16, 32, 32),
            "encoder_depths": (1, 1, 1, 1),
            "decoder_depths": (1, 1, 2, 1),
            "time_steps": (False, True, True),
            "first_attention": 2,
        },
        (8, 32, 64),
        (2, 1, 2),
        _video_dc_ae,
        cut=_tile_video_dc_ae,
        small=_small_tiles,
        large=((20, 40, 24), (5, 5, 3)),
    ),
    "lean-vae": Source(
        "github.com/westlake-repl/LeanVAE",
        {
            "latent_channels": 3,
            "low": 12,
            "high": 20,
            "apart_layers": 1,
            "joint_layers": 2,
            "steps": 2,
            "step_layers": 1,
        },
        (9, 32, 24),
        (3, 4, 3),
        _lean_vae,
        cut=_tile_lean_vae,
    ),
    "vidtok": Source(
        "github.com/microsoft/VidTok",
        {"time": "causal-1.0", "base": 16, "multipliers": (1, 1, 2, 2), "num_res_blocks": 1},
        (13, 16, 16),
        (3, 2, 2),
        _vidtok,
        {"time": "causal-1.0"},
    ),
}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=SOURCES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--published", action="store_true")
    chosen = parser.parse_args()
    sys.path.insert(0, str(chosen.checkout))
    source = SOURCES[chosen.family]
    values = source.published if chosen.published else source.narrow
    ours = ours_at(chosen.family, values)
    theirs, encode, decode = source.run(ours.config)
    for name, parameter in theirs.eval().named_parameters():
        if "wavelet" not in name:
            parameter.copy_(drawn(name, tuple(parameter.shape)))
    clip, latents = noise(3, *source.clip), noise(ours.latent_spec.channels, *source.latents, seed=1)
    want = {"moments": encode(clip), "video": decode(latents)}
    got = answers(ours, clip, latents)
    if source.cut is not None and not chosen.published:
        source.cut(theirs)
        parts = inputs(chosen.family, large=True)
        want |= {"moments_in_parts": encode(parts[0]), "video_in_parts": thinned(decode(parts[1]))}
        got |= answers_in_parts(ours, *parts)
    print(json.dumps({name: relative_error(got[name], tensor) for name, tensor in want.items()}))
    if not chosen.published:
        FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            part = Path(folder) / "part"
            save_file({name: tensor.contiguous() for name, tensor in want.items()}, part)
            part.chmod(0o644)
            part.replace(FOLDER / f"{chosen.family}.safetensors")


if __name__ == "__main__":
    main()
