"""References for NVIDIA's tokenizers and DC-AE-V: what their authors' code computes, at weights drawn by name.

    python tests/parity/nvidia_references.py cosmos-dv CHECKOUT [--published] [--double]

runs the code in CHECKOUT, a clone of the repository named in `SOURCES`, and prints how far we are from it. Without
flags it writes `references/NAME.safetensors`, which tests compare with; `--published` is the published size.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from family_checks import noise, unclamped
from torch import Tensor, nn
from upstream_references import FOLDER, drawn, ours_at

from vidlatent.autoencoders import Autoencoder
from vidlatent.files import write_tensors
from vidlatent.testing import relative_error

Theirs = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""A model of theirs, and what makes features of a clip that are not rounded yet, and video of latents."""


@dataclass(frozen=True)
class Source:
    """Whose code, our family, fields of our configuration that make a narrow and the published model, and the sizes.

    `published_sizes` are those of the clip and the latents of the published model, where they differ.
    """

    repository: str
    family: str
    narrow: Mapping[str, object]
    clip: tuple[int, int, int]
    latents: tuple[int, int, int]
    run: Callable[[Any], Theirs]
    published: Mapping[str, object] = field(default_factory=dict)
    published_sizes: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None


def ours_of_source(name: str, *, published: bool = False, dtype: torch.dtype = torch.float) -> Autoencoder:
    """Ours with the weights that `drawn` gives for the authors' names."""
    source = SOURCES[name]
    return ours_at(source.family, source.published if published else source.narrow, dtype)


def source_inputs(
    name: str, channels: int, *, published: bool = False, dtype: torch.dtype = torch.float
) -> tuple[Tensor, Tensor]:
    """The clip and the latents of a reference."""
    source = SOURCES[name]
    clip, latents = source.published_sizes if published and source.published_sizes else (source.clip, source.latents)
    return noise(3, *clip, dtype=dtype), noise(channels, *latents, seed=1, dtype=dtype)


def our_answers(ours: Autoencoder, clip: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """Features, codes where there are any, and video."""
    encoder = ours.encoder[:-1] if ours.bottleneck else ours.encoder
    answers = {"features": encoder(ours.prepare(clip)), "video": unclamped(ours, latents)}
    return answers | ({"codes": ours.codes(ours.encode(clip).mean)[0]} if ours.bottleneck else {})


def _on_frames(apply: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda clip: torch.stack([apply(frame) for frame in clip.unbind(2)], 2)


def _cosmos_fields(config: Any, widths: tuple[int, ...], features: int) -> dict[str, Any]:
    return {
        "channels": widths[0],
        "channels_mult": [width // widths[0] for width in widths[1:]],
        "num_res_blocks": config.num_res_blocks,
        "patch_size": config.patch_size,
        "patch_method": "haar",
        "spatial_compression": config.space_stride,
        "z_channels": features,
        "z_factor": 1,
        "latent_channels": config.latent_channels,
        "embedding_dim": config.latent_channels,
        "levels": list(config.levels),
        "quantizer": "FSQ",
        "formulation": "AE",
        "attn_resolutions": [32],
        "resolution": 1024,
        "dropout": 0.0,
        "in_channels": 3,
        "out_channels": 3,
    }


def _in_double(model: nn.Module) -> None:
    """Their wavelets are rounded to float32, whatever the model is."""
    for module in model.modules():
        if hasattr(module, "wavelets"):
            module.wavelets = torch.full((2,), 0.5, dtype=torch.double).sqrt()


def _cosmos(config: Any) -> Theirs:
    from cosmos_predict1.tokenizer.networks import TokenizerModels

    values = _cosmos_fields(config, config.encoder_widths, config.num_features)
    values |= {"num_groups": 1, "legacy_mode": False, "name": "tokenizer"}
    values |= {"encoder": "FACTORIZED", "decoder": "FACTORIZED", "temporal_compression": config.time_stride}
    model = (TokenizerModels.DV if config.levels else TokenizerModels.CV).value(**values)
    return model, lambda x: model.quant_conv(model.encoder(x)), model.decode


def _cosmos_image(config: Any) -> Theirs:
    from cosmos_predict1.tokenizer.modules import layers2d
    from cosmos_predict1.tokenizer.networks import TokenizerModels

    values = _cosmos_fields(config, config.widths, config.features)
    values |= {"encoder": "Default", "decoder": "Default", "name": "tokenizer"}
    layers2d.Normalize = lambda width: nn.GroupNorm(config.groups, width, eps=1e-6)  # theirs has 32 groups always
    model = (TokenizerModels.DI if config.levels else TokenizerModels.CI).value(**values)
    return model, _on_frames(lambda x: model.quant_conv(model.encoder(x))), _on_frames(model.decode)


def _dc_ae_v(config: Any) -> Theirs:
    from dc_videogen.dc_ae_v import DCAEV, DCAEVConfig, DCAEVDecoderConfig, DCAEVEncoderConfig

    levels, chunk, few = len(config.widths), config.chunk, config.chunk // config.time_stride
    chunks = [chunk] * levels + [few]
    halves, all_at_once = [f"@2@1@3@3@{chunk}"] * (levels - 1), f"@1@{config.time_stride}@3@3"
    common = {
        "in_channels": 3,
        "latent_channels": config.latent_channels,
        "zero_out": False,
        "width_list": (config.widths[0], *config.widths),
        "depth_list": (0, *config.depths),
        "block_type": [f"ChunkCausalResBlock3d@3@3@{each}" for each in chunks],
    }
    down, up = "ChunkCausalConvPixelUnshuffle", "ChunkCausalConvPixelShuffle"
    encoder = DCAEVEncoderConfig(
        project_in_block_type=f"{down}@2@1@3@3@{chunk}",
        downsample_block_type=[*(down + half for half in halves), f"{down}{all_at_once}@{chunk}"],
        project_out_block_type=f"ChunkCausalConvLayer3d@3@3@{few}",
        **common,
    )
    decoder = DCAEVDecoderConfig(
        project_in_block_type=f"ChunkCausalConvLayer3d@3@3@{few}",
        upsample_block_type=[*(up + half for half in halves), f"{up}{all_at_once}@{few}"],
        project_out_block_type=f"{up}@2@1@3@3@{chunk}",
        **common,
    )
    tiles = {
        f"{way}_temporal_tile_{kind}": n
        for way in ("encode", "decode")
        for kind, n in (("size", chunk), ("latent_size", few))
    }
    model = DCAEV(DCAEVConfig(encoder=encoder, decoder=decoder, use_feature_cache=True, **tiles))
    return model, model.encode, model.decode


_COSMOS = "github.com/nvidia-cosmos/cosmos-predict1"
_FSQ = {"levels": (8, 8, 8, 5, 5, 5), "latent_channels": 6}
_NARROW = {"encoder_widths": (8, 16, 32, 32), "decoder_widths": (16, 32, 32, 32), "num_res_blocks": 1}
_VIDEO = {"mean": None, "std": None}

SOURCES = {
    "dc-ae-v": Source(
        "github.com/dc-ai-projects/DC-Gen",
        "dc-ae-v",
        {"latent_channels": 3, "widths": (8, 16, 16, 16), "depths": (1, 2, 1, 1), "chunk": 8},
        (24, 16, 24),
        (4, 2, 2),
        _dc_ae_v,
        published_sizes=((8, 32, 64), (2, 1, 2)),
    ),
    "cosmos-cv": Source(
        _COSMOS,
        "cosmos",
        {**_NARROW, **_VIDEO, "latent_channels": 3, "time_stride": 4, "space_stride": 8, "patch_size": 2},
        (9, 16, 24),
        (3, 2, 3),
        _cosmos,
        {**_VIDEO, "time_stride": 4, "space_stride": 8, "patch_size": 2},
    ),
    "cosmos-dv": Source(
        _COSMOS,
        "cosmos",
        {**_NARROW, **_VIDEO, **_FSQ, "features": 10, "time_stride": 8, "space_stride": 16},
        (17, 32, 48),
        (2, 2, 1),
        _cosmos,
        {**_VIDEO, **_FSQ, "features": 16, "time_stride": 8, "space_stride": 16},
    ),
    "cosmos-ci": Source(
        _COSMOS,
        "cosmos-image",
        {"widths": (8, 8, 16, 16), "groups": 4, "num_res_blocks": 1, "features": 5, "latent_channels": 3},
        (2, 32, 48),
        (2, 2, 2),
        _cosmos_image,
    ),
    "cosmos-di": Source(
        _COSMOS,
        "cosmos-image",
        {
            "widths": (8, 8, 16, 16),
            "groups": 4,
            "num_res_blocks": 1,
            **_FSQ,
            "features": 10,
            "patch_size": 2,
            "space_stride": 16,
        },
        (2, 32, 48),
        (2, 2, 2),
        _cosmos_image,
        {**_FSQ, "features": 256, "patch_size": 2, "space_stride": 16},
    ),
}


def _answers_of(name: str, checkout: Path, *, published: bool, double: bool) -> tuple[dict[str, Tensor], ...]:
    sys.path.insert(0, str(checkout))
    source, dtype = SOURCES[name], torch.double if double else torch.float
    ours = ours_of_source(name, published=published, dtype=dtype)
    theirs, encode, decode = source.run(ours.config)
    theirs = theirs.to(dtype=dtype).eval()
    if double:
        torch.set_default_dtype(dtype)  # of constants that they make as they go
        _in_double(theirs)
    for key, parameter in theirs.named_parameters():
        parameter.copy_(drawn(key, tuple(parameter.shape), dtype))
    clip, latents = source_inputs(name, ours.latent_spec.channels, published=published, dtype=dtype)
    want = {"features": encode(clip), "video": decode(latents)}
    if ours.bottleneck:
        features = want["features"]
        want["codes"] = (
            torch.stack([theirs.quantizer(frame)[0] for frame in features.unbind(2)], 1)
            if source.family == "cosmos-image"
            else theirs.quantizer(features)[0]
        )
    return want, our_answers(ours, clip, latents)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--double", action="store_true")
    chosen = parser.parse_args()
    want, got = _answers_of(chosen.name, chosen.checkout, published=chosen.published, double=chosen.double)
    print(json.dumps({key: relative_error(got[key].double(), tensor.double()) for key, tensor in want.items()}))
    if not (chosen.published or chosen.double):
        write_tensors(FOLDER / f"{chosen.name}.safetensors", want, {})


if __name__ == "__main__":
    main()
