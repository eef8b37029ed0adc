"""Every autoencoder by name: one explicit table, and the way to one with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from vidlatent.autoencoders.allegro.model import AllegroConfig
from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.cogvideox.config import COGVIDEOX_2B, COGVIDEOX_5B
from vidlatent.autoencoders.cosmos.config import CV_8X8X8
from vidlatent.autoencoders.dc_ae.config import F32C32, F32C32_SANA, F64C128, F128C512
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.autoencoders.image_kl.config import FLUX, SD, SD3, SDXL
from vidlatent.autoencoders.ltx.presets import LTX_2, LTX_23, LTX_VIDEO_090, LTX_VIDEO_091, LTX_VIDEO_095
from vidlatent.autoencoders.mochi.config import MochiConfig
from vidlatent.autoencoders.svd.config import SVD
from vidlatent.autoencoders.taehv.model import TAEHV, TAEHV_15, TAELTX_2, TAEW_22
from vidlatent.autoencoders.tiny.model import TinyConfig
from vidlatent.autoencoders.wan.presets import WAN_21, WAN_22
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class Entry:
    """A preset: its family, its configuration, and the licence of its published weights."""

    family: str
    config: Any
    licence: str


CATALOG: dict[str, Entry] = {
    "vidlatent-tiny": Entry("tiny", TinyConfig(), "Apache-2.0"),
    "wan-2.1": Entry("wan", WAN_21, "Apache-2.0"),
    "wan-2.2": Entry("wan", WAN_22, "Apache-2.0"),
    "ltx-video-0.9.0": Entry("ltx-video", LTX_VIDEO_090, "see model card"),
    "ltx-video-0.9.1": Entry("ltx-video", LTX_VIDEO_091, "see model card"),
    "ltx-video-0.9.5": Entry("ltx-video", LTX_VIDEO_095, "see model card"),
    "ltx-2": Entry("ltx-2", LTX_2, "see model card"),
    "ltx-2.3": Entry("ltx-2", LTX_23, "see model card"),
    "mochi-1": Entry("mochi", MochiConfig(), "Apache-2.0"),
    "allegro": Entry("allegro", AllegroConfig(), "Apache-2.0"),
    "taehv": Entry("taehv", TAEHV, "MIT"),
    "taehv-1.5": Entry("taehv", TAEHV_15, "MIT"),
    "taew-2.1": Entry("taehv", TAEHV, "MIT"),
    "taew-2.2": Entry("taehv", TAEW_22, "MIT"),
    "taeltx-2": Entry("taehv", TAELTX_2, "MIT"),
    "taeltx-2.3": Entry("taehv", TAELTX_2, "MIT"),
    "qwen-image": Entry("qwen-image", WAN_21, "Apache-2.0"),
    "sd": Entry("image-kl", SD, "MIT (sd-vae-ft-mse)"),
    "sdxl": Entry("image-kl", SDXL, "MIT (sdxl-vae)"),
    "sd3": Entry("image-kl", SD3, "see model card"),
    "flux.1": Entry("image-kl", FLUX, "Apache-2.0 (FLUX.1-schnell)"),
    "svd": Entry("svd", SVD, "see model card"),
    "dc-ae-f32c32-sana": Entry("dc-ae", F32C32_SANA, "see model card"),
    "dc-ae-f32c32": Entry("dc-ae", F32C32, "see model card"),
    "dc-ae-f64c128": Entry("dc-ae", F64C128, "see model card"),
    "dc-ae-f128c512": Entry("dc-ae", F128C512, "see model card"),
    "cogvideox-2b": Entry("cogvideox", COGVIDEOX_2B, "Apache-2.0"),
    "cogvideox-5b": Entry("cogvideox", COGVIDEOX_5B, "CogVideoX License"),
    "cosmos-1.0": Entry("cosmos", CV_8X8X8, "NVIDIA Open Model License"),
}


def models() -> list[str]:
    """Every name that `build` takes."""
    return list(CATALOG)


def build(name: str, *, seed: int = 0, **overrides: Any) -> Autoencoder:
    """Build a preset with random weights; `overrides` are fields of its configuration (`base_dim=16`).

    Raises `ModelError` for an unknown name or field, naming those there are.
    """
    if name not in CATALOG:
        raise ModelError(f"no model named {name!r}; there are {', '.join(CATALOG)}")
    entry = CATALOG[name]
    unknown = set(overrides) - set(vars(entry.config))
    if unknown:
        raise ModelError(f"{name} has no {', '.join(sorted(unknown))}; it has {', '.join(vars(entry.config))}")
    config = replace(entry.config, **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(entry.family, config, FAMILIES[entry.family].build(config)).eval()
