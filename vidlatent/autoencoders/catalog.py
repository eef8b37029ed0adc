"""Every autoencoder by name: one explicit table, and the way to one with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import torch

from vidlatent.autoencoders.allegro.model import AllegroConfig
from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.cogvideox.config import COGVIDEOX_2B, COGVIDEOX_5B
from vidlatent.autoencoders.cosmos import config as cosmos
from vidlatent.autoencoders.cosmos import image as cosmos_image
from vidlatent.autoencoders.dc_ae.config import (
    F32C32,
    F32C32_LITE,
    F32C32_SANA,
    F32C128_15,
    F64C128,
    F64C128_15,
    F128C512,
)
from vidlatent.autoencoders.dc_ae_v import model as dc_ae_v
from vidlatent.autoencoders.dc_ae_video.model import VideoDCAEConfig
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.autoencoders.hunyuan_video.model import HunyuanVideoConfig
from vidlatent.autoencoders.hunyuan_video_15.model import HunyuanVideo15Config
from vidlatent.autoencoders.image_kl.config import FLUX, SD, SD3, SDXL
from vidlatent.autoencoders.kvae.model import KVAEConfig
from vidlatent.autoencoders.lean_vae.model import LeanVAEConfig
from vidlatent.autoencoders.ltx.presets import LTX_2, LTX_23, LTX_VIDEO_090, LTX_VIDEO_091, LTX_VIDEO_095
from vidlatent.autoencoders.ltx_25.config import LTX25Config
from vidlatent.autoencoders.magvit.model import MagvitConfig
from vidlatent.autoencoders.minimax_h3.config import MiniMaxH3Config
from vidlatent.autoencoders.mochi.config import MochiConfig
from vidlatent.autoencoders.svd.config import SVD
from vidlatent.autoencoders.taehv import model as taehv
from vidlatent.autoencoders.tiny.model import TinyConfig
from vidlatent.autoencoders.vidtok import config as vidtok
from vidlatent.autoencoders.wan.presets import WAN_21, WAN_22
from vidlatent.autoencoders.wf_vae.model import WFVAEConfig
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
    "ltx-2.5": Entry("ltx-2.5", LTX25Config(), "see model card"),
    "mochi-1": Entry("mochi", MochiConfig(), "Apache-2.0"),
    "allegro": Entry("allegro", AllegroConfig(), "Apache-2.0"),
    "taehv": Entry("taehv", taehv.TAEHV, "MIT"),
    "taehv-1.5": Entry("taehv", taehv.TAEHV_15, "MIT"),
    "taew-2.1": Entry("taehv", taehv.TAEHV, "MIT"),
    "taew-2.2": Entry("taehv", taehv.TAEW_22, "MIT"),
    "taeltx-2": Entry("taehv", taehv.TAELTX_2, "MIT"),
    "taeltx-2.3": Entry("taehv", taehv.TAELTX_2, "MIT"),
    "taeltx-2.3-wide": Entry("taehv", taehv.TAELTX_23_WIDE, "MIT"),
    "taeh3": Entry("taehv", taehv.TAEH3, "MIT"),
    "taehv-1.5-super": Entry("taehv", taehv.TAEHV_15_SUPER, "MIT"),
    "taew-2.2-super": Entry("taehv", taehv.TAEW_22_SUPER, "MIT"),
    "taecvx": Entry("taehv", taehv.TAEHV, "MIT"),
    "taeos-1.3": Entry("taehv", taehv.TAEHV, "MIT"),
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
    "dc-ae-lite-f32c32-sana": Entry("dc-ae", F32C32_LITE, "see model card"),
    "dc-ae-1.5-f32c128": Entry("dc-ae", F32C128_15, "see model card"),
    "dc-ae-1.5-f64c128": Entry("dc-ae", F64C128_15, "see model card"),
    "cogvideox-2b": Entry("cogvideox", COGVIDEOX_2B, "Apache-2.0"),
    "cogvideox-5b": Entry("cogvideox", COGVIDEOX_5B, "CogVideoX License"),
    "cosmos-1.0": Entry("cosmos", cosmos.CV_8X8X8, "NVIDIA Open Model License"),
    "cosmos-1.0-dv8x16x16": Entry("cosmos", cosmos.DV_8X16X16, "NVIDIA Open Model License"),
    "cosmos-0.1-cv4x8x8": Entry("cosmos", cosmos.CV_4X8X8_01, "NVIDIA Open Model License"),
    "cosmos-0.1-cv8x8x8": Entry("cosmos", cosmos.CV_8X8X8_01, "NVIDIA Open Model License"),
    "cosmos-0.1-cv8x16x16": Entry("cosmos", cosmos.CV_8X16X16_01, "NVIDIA Open Model License"),
    "cosmos-0.1-dv4x8x8": Entry("cosmos", cosmos.DV_4X8X8_01, "NVIDIA Open Model License"),
    "cosmos-0.1-dv8x8x8": Entry("cosmos", cosmos.DV_8X8X8_01, "NVIDIA Open Model License"),
    "cosmos-0.1-dv8x16x16": Entry("cosmos", cosmos.DV_8X16X16, "NVIDIA Open Model License"),
    "cosmos-tokenize1-cv4x8x8-360p": Entry("cosmos", cosmos.CV_4X8X8_360P, "NVIDIA Open Model License"),
    "cosmos-tokenize1-cv8x8x8-720p": Entry("cosmos", cosmos.CV_8X8X8_01, "NVIDIA Open Model License"),
    "cosmos-tokenize1-dv4x8x8-360p": Entry("cosmos", cosmos.DV_4X8X8_360P, "NVIDIA Open Model License"),
    "cosmos-tokenize1-dv8x16x16-720p": Entry("cosmos", cosmos.DV_8X16X16, "NVIDIA Open Model License"),
    "cosmos-0.1-ci8x8": Entry("cosmos-image", cosmos_image.CI_8X8_01, "NVIDIA Open Model License"),
    "cosmos-0.1-ci16x16": Entry("cosmos-image", cosmos_image.CI_16X16_01, "NVIDIA Open Model License"),
    "cosmos-0.1-di8x8": Entry("cosmos-image", cosmos_image.DI_8X8_01, "NVIDIA Open Model License"),
    "cosmos-0.1-di16x16": Entry("cosmos-image", cosmos_image.DI_16X16_01, "NVIDIA Open Model License"),
    "cosmos-tokenize1-ci8x8-360p": Entry("cosmos-image", cosmos_image.CI_8X8_360P, "NVIDIA Open Model License"),
    "cosmos-tokenize1-ci16x16-360p": Entry("cosmos-image", cosmos_image.CI_16X16_360P, "NVIDIA Open Model License"),
    "cosmos-tokenize1-di8x8-360p": Entry("cosmos-image", cosmos_image.DI_8X8_360P, "NVIDIA Open Model License"),
    "cosmos-tokenize1-di16x16-360p": Entry("cosmos-image", cosmos_image.DI_16X16_360P, "NVIDIA Open Model License"),
    "hunyuan-video": Entry("hunyuan-video", HunyuanVideoConfig(), "Tencent Hunyuan Community License"),
    "hunyuan-video-1.5": Entry("hunyuan-video-1.5", HunyuanVideo15Config(), "Tencent Hunyuan Community License"),
    "easyanimate-5": Entry("magvit", MagvitConfig(), "see model card"),
    "vidtok-kl-488-4": Entry("vidtok", vidtok.KL_488_4, "MIT"),
    "vidtok-kl-488-16": Entry("vidtok", vidtok.KL_488_16, "MIT"),
    "vidtok-kl-41616-16": Entry("vidtok", vidtok.KL_41616_16, "MIT"),
    "vidtok-kl-288-8": Entry("vidtok", vidtok.KL_288_8, "MIT"),
    "vidtok-fsq-488-32768": Entry("vidtok", vidtok.FSQ_488_32768, "MIT"),
    "vidtok-fsq-888-32768": Entry("vidtok", vidtok.FSQ_888_32768, "MIT"),
    "vidtok-fsq-41616-262144": Entry("vidtok", vidtok.FSQ_41616_262144, "MIT"),
    "vidtok-kl-noncausal-488-4": Entry("vidtok", vidtok.KL_NONCAUSAL_488_4, "MIT"),
    "vidtok-fsq-noncausal-488-262144": Entry("vidtok", vidtok.FSQ_NONCAUSAL_488_262144, "MIT"),
    "vidtok-kl-noncausal-488-16": Entry("vidtok", vidtok.KL_NONCAUSAL_488_16, "MIT"),
    "vidtok-kl-noncausal-41616-4": Entry("vidtok", vidtok.KL_NONCAUSAL_41616_4, "MIT"),
    "vidtok-kl-noncausal-41616-16": Entry("vidtok", vidtok.KL_NONCAUSAL_41616_16, "MIT"),
    "vidtok-fsq-noncausal-41616-262144": Entry("vidtok", vidtok.FSQ_NONCAUSAL_41616_262144, "MIT"),
    "vidtok-1.0-kl-488-4": Entry("vidtok", vidtok.KL_488_4_10, "MIT"),
    "vidtok-1.0-kl-488-8": Entry("vidtok", vidtok.KL_488_8_10, "MIT"),
    "vidtok-1.0-kl-488-16": Entry("vidtok", vidtok.KL_488_16_10, "MIT"),
    "vidtok-1.0-kl-288-8": Entry("vidtok", vidtok.KL_288_8_10, "MIT"),
    "vidtok-1.0-kl-444-4": Entry("vidtok", vidtok.KL_444_4_10, "MIT"),
    "vidtok-1.0-kl-41616-4": Entry("vidtok", vidtok.KL_41616_4_10, "MIT"),
    "vidtok-1.0-fsq-488-4096": Entry("vidtok", vidtok.FSQ_488_4096_10, "MIT"),
    "vidtok-1.0-fsq-488-32768": Entry("vidtok", vidtok.FSQ_488_32768_10, "MIT"),
    "vidtok-1.0-fsq-488-262144": Entry("vidtok", vidtok.FSQ_488_262144_10, "MIT"),
    "vidtok-1.0-fsq-41616-262144": Entry("vidtok", vidtok.FSQ_41616_262144_10, "MIT"),
    "wf-vae-l-16": Entry("wf-vae", WFVAEConfig(), "Apache-2.0"),
    "kvae-1": Entry("kvae", KVAEConfig(), "see model card"),
    "dc-ae-f32t4c128": Entry("dc-ae-video", VideoDCAEConfig(), "Apache-2.0"),
    "dc-ae-v-f32t4c32": Entry("dc-ae-v", dc_ae_v.F32T4C32, "see model card"),
    "dc-ae-v-f32t4c64": Entry("dc-ae-v", dc_ae_v.F32T4C64, "see model card"),
    "dc-ae-v-f32t4c128": Entry("dc-ae-v", dc_ae_v.F32T4C128, "see model card"),
    "dc-ae-v-f32t4c256": Entry("dc-ae-v", dc_ae_v.F32T4C256, "see model card"),
    "dc-ae-v-f64t4c128": Entry("dc-ae-v", dc_ae_v.F64T4C128, "see model card"),
    "minimax-h3": Entry("minimax-h3", MiniMaxH3Config(), "see model card"),
    "lean-vae-4": Entry("lean-vae", LeanVAEConfig(latent_channels=4), "see model card"),
    "lean-vae-16": Entry("lean-vae", LeanVAEConfig(), "see model card"),
}


def nearest(name: str) -> str:
    """What to say of a name that is none."""
    close = get_close_matches(name, CATALOG, 3, 0.4)
    return (f"near it are {', '.join(close)}; " if close else "") + "`vidlatent models` lists all"


def models() -> list[str]:
    """Every name that `build` takes."""
    return list(CATALOG)


def build(name: str, *, seed: int = 0, **overrides: Any) -> Autoencoder:
    """Build a preset with random weights; `overrides` are fields of its configuration (`base_dim=16`).

    Raises `ModelError` for an unknown name or field, naming those there are.
    """
    if name not in CATALOG:
        raise ModelError(f"no model named {name!r}; {nearest(name)}")
    entry = CATALOG[name]
    unknown = set(overrides) - set(vars(entry.config))
    if unknown:
        raise ModelError(f"{name} has no {', '.join(sorted(unknown))}; it has {', '.join(vars(entry.config))}")
    config = replace(entry.config, **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(entry.family, config, FAMILIES[entry.family].build(config)).eval()
