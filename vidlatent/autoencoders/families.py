"""Every family by name, and an autoencoder made from a configuration and its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vidlatent.autoencoders.allegro.model import AllegroConfig
from vidlatent.autoencoders.allegro.model import build as build_allegro
from vidlatent.autoencoders.allegro.published import ALLEGRO
from vidlatent.autoencoders.base import Autoencoder, Trees
from vidlatent.autoencoders.cogvideox.config import CogVideoXConfig
from vidlatent.autoencoders.cogvideox.model import build as build_cogvideox
from vidlatent.autoencoders.cogvideox.published import COGVIDEOX
from vidlatent.autoencoders.configurable.config import ConfigurableConfig
from vidlatent.autoencoders.configurable.model import build as build_configurable
from vidlatent.autoencoders.cosmos.config import CosmosConfig
from vidlatent.autoencoders.cosmos.image import CosmosImageConfig
from vidlatent.autoencoders.cosmos.image import build as build_cosmos_image
from vidlatent.autoencoders.cosmos.image_published import COSMOS_IMAGE
from vidlatent.autoencoders.cosmos.model import build as build_cosmos
from vidlatent.autoencoders.cosmos.published import COSMOS
from vidlatent.autoencoders.dc_ae.config import DCAEConfig
from vidlatent.autoencoders.dc_ae.model import build as build_dc_ae
from vidlatent.autoencoders.dc_ae.published import DC_AE
from vidlatent.autoencoders.dc_ae_v.model import DCAEVConfig
from vidlatent.autoencoders.dc_ae_v.model import build as build_dc_ae_v
from vidlatent.autoencoders.dc_ae_v.published import DC_AE_V
from vidlatent.autoencoders.dc_ae_video.model import VideoDCAEConfig
from vidlatent.autoencoders.dc_ae_video.model import build as build_dc_ae_video
from vidlatent.autoencoders.dc_ae_video.published import VIDEO_DC_AE
from vidlatent.autoencoders.hunyuan_video.model import HunyuanVideoConfig
from vidlatent.autoencoders.hunyuan_video.model import build as build_hunyuan_video
from vidlatent.autoencoders.hunyuan_video.published import HUNYUAN_VIDEO
from vidlatent.autoencoders.hunyuan_video_15.model import HunyuanVideo15Config
from vidlatent.autoencoders.hunyuan_video_15.model import build as build_hunyuan_video_15
from vidlatent.autoencoders.hunyuan_video_15.published import HUNYUAN_VIDEO_15
from vidlatent.autoencoders.image_kl.config import ImageKLConfig
from vidlatent.autoencoders.image_kl.model import build as build_image_kl
from vidlatent.autoencoders.image_kl.published import IMAGE_KL
from vidlatent.autoencoders.kvae.model import KVAEConfig
from vidlatent.autoencoders.kvae.model import build as build_kvae
from vidlatent.autoencoders.kvae.published import KVAE
from vidlatent.autoencoders.lean_vae.model import LeanVAEConfig
from vidlatent.autoencoders.lean_vae.model import build as build_lean_vae
from vidlatent.autoencoders.lean_vae.published import LEAN_VAE
from vidlatent.autoencoders.links import Shape
from vidlatent.autoencoders.ltx.config import LTXConfig
from vidlatent.autoencoders.ltx.model import build as build_ltx
from vidlatent.autoencoders.ltx.published import LTX_2_VIDEO, LTX_VIDEO
from vidlatent.autoencoders.ltx_25.config import LTX25Config
from vidlatent.autoencoders.ltx_25.model import build as build_ltx_25
from vidlatent.autoencoders.ltx_25.published import LTX_25
from vidlatent.autoencoders.magvit.model import MagvitConfig
from vidlatent.autoencoders.magvit.model import build as build_magvit
from vidlatent.autoencoders.magvit.published import MAGVIT
from vidlatent.autoencoders.minimax_h3.config import MiniMaxH3Config
from vidlatent.autoencoders.minimax_h3.model import build as build_minimax_h3
from vidlatent.autoencoders.minimax_h3.published import MINIMAX_H3
from vidlatent.autoencoders.mochi.config import MochiConfig
from vidlatent.autoencoders.mochi.model import build as build_mochi
from vidlatent.autoencoders.mochi.published import MOCHI
from vidlatent.autoencoders.published import Published
from vidlatent.autoencoders.svd.config import SVDConfig
from vidlatent.autoencoders.svd.model import build as build_svd
from vidlatent.autoencoders.svd.published import SVD_PUBLISHED
from vidlatent.autoencoders.taehv.model import TAEHVConfig
from vidlatent.autoencoders.taehv.model import build as build_taehv
from vidlatent.autoencoders.taehv.published import TAEHV_PUBLISHED
from vidlatent.autoencoders.tiny.model import TinyConfig
from vidlatent.autoencoders.tiny.model import build as build_tiny
from vidlatent.autoencoders.vidtok.config import VidTokConfig
from vidlatent.autoencoders.vidtok.model import build as build_vidtok
from vidlatent.autoencoders.vidtok.published import VIDTOK
from vidlatent.autoencoders.wan.config import WanConfig
from vidlatent.autoencoders.wan.model import build as build_wan
from vidlatent.autoencoders.wan.published import WAN
from vidlatent.autoencoders.wan.qwen_image import QWEN_IMAGE
from vidlatent.autoencoders.wf_vae.model import WFVAEConfig
from vidlatent.autoencoders.wf_vae.model import build as build_wf_vae
from vidlatent.autoencoders.wf_vae.published import WF_VAE


@dataclass(frozen=True)
class Family:
    """An architecture: its configuration, how to build it, and how others store it, if they do."""

    config: type
    build: Callable[[Any], Trees]
    published: Published | None = None


FAMILIES: dict[str, Family] = {
    "tiny": Family(TinyConfig, build_tiny),
    "configurable": Family(ConfigurableConfig, build_configurable),
    "wan": Family(WanConfig, build_wan, WAN),
    "ltx-video": Family(LTXConfig, build_ltx, LTX_VIDEO),
    "ltx-2": Family(LTXConfig, build_ltx, LTX_2_VIDEO),
    "ltx-2.5": Family(LTX25Config, build_ltx_25, LTX_25),
    "mochi": Family(MochiConfig, build_mochi, MOCHI),
    "allegro": Family(AllegroConfig, build_allegro, ALLEGRO),
    "taehv": Family(TAEHVConfig, build_taehv, TAEHV_PUBLISHED),
    "qwen-image": Family(WanConfig, build_wan, QWEN_IMAGE),
    "image-kl": Family(ImageKLConfig, build_image_kl, IMAGE_KL),
    "svd": Family(SVDConfig, build_svd, SVD_PUBLISHED),
    "cosmos": Family(CosmosConfig, build_cosmos, COSMOS),
    "cosmos-image": Family(CosmosImageConfig, build_cosmos_image, COSMOS_IMAGE),
    "cogvideox": Family(CogVideoXConfig, build_cogvideox, COGVIDEOX),
    "dc-ae": Family(DCAEConfig, build_dc_ae, DC_AE),
    "hunyuan-video": Family(HunyuanVideoConfig, build_hunyuan_video, HUNYUAN_VIDEO),
    "hunyuan-video-1.5": Family(HunyuanVideo15Config, build_hunyuan_video_15, HUNYUAN_VIDEO_15),
    "magvit": Family(MagvitConfig, build_magvit, MAGVIT),
    "vidtok": Family(VidTokConfig, build_vidtok, VIDTOK),
    "wf-vae": Family(WFVAEConfig, build_wf_vae, WF_VAE),
    "kvae": Family(KVAEConfig, build_kvae, KVAE),
    "dc-ae-video": Family(VideoDCAEConfig, build_dc_ae_video, VIDEO_DC_AE),
    "dc-ae-v": Family(DCAEVConfig, build_dc_ae_v, DC_AE_V),
    "minimax-h3": Family(MiniMaxH3Config, build_minimax_h3, MINIMAX_H3),
    "lean-vae": Family(LeanVAEConfig, build_lean_vae, LEAN_VAE),
}


class _WeightsOnMeta(TorchFunctionMode):
    """Weights are born as `torch.empty`: put those on the meta device, and leave constants real."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def without_weights(family: str, config: object) -> Autoencoder:
    """The autoencoder with weights that have shapes only, and take neither memory nor time."""
    with _WeightsOnMeta():
        return Autoencoder(family, config, FAMILIES[family].build(config))


def shapes_of(ae: Autoencoder) -> dict[str, Shape]:
    """Name and shape of every tensor that a checkpoint of `ae` holds."""
    return {name: tuple(tensor.shape) for name, tensor in ae.state_dict().items()}


def with_weights(
    ae: Autoencoder, tensors: Mapping[str, Tensor], *, device: torch.device | str, dtype: torch.dtype
) -> Autoencoder:
    """Give `ae`, made by `without_weights`, its weights (ours by name and shape), copied to `device` and `dtype`."""
    # copied always: the tensors are mapped from a file, which may change or go
    owned = {name: tensor.to(device, dtype, copy=True) for name, tensor in tensors.items()}
    ae.load_state_dict(owned, assign=True)
    del owned  # or each would stay beside its new layout
    trees = Trees(ae.encoder, ae.decoder, ae.latent_spec, ae.has_logvar, ae.upstream)
    return Autoencoder(ae.family, ae.config, trees).to(device).eval()  # anew: it lays out the weights it is given
