"""diffusers' pipelines at sizes that run in a moment, with random weights; prompts are given as embeddings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor

_TEXT = 8
_CALL = {"num_inference_steps": 2, "output_type": "pt"}


@dataclass(frozen=True)
class Tiny:
    """How to make a pipeline around an autoencoder of a preset, and how to call it."""

    preset: str
    make: Callable[[Any], Any]
    call: dict[str, Any]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _prompt(length: int = 4, width: int = _TEXT, *, mask: bool = False) -> dict[str, Tensor]:
    embeds = {
        "prompt_embeds": noise(1, length, width, seed=1),
        "negative_prompt_embeds": noise(1, length, width, seed=2),
    }
    masks = {"prompt_attention_mask": torch.ones(1, length), "negative_prompt_attention_mask": torch.ones(1, length)}
    return {**embeds, **(masks if mask else {})}


def _flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler()


def _wan(kind: type, channels_in: int) -> Callable[[Any], Any]:
    def make(vae: Any) -> Any:
        transformer = diffusers.WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=channels_in,
            out_channels=16,
            text_dim=_TEXT,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
            rope_max_seq_len=32,
        )
        return kind(tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=_flow())

    return make


def _hunyuan(vae: Any) -> Any:
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=_TEXT,
        pooled_projection_dim=_TEXT,
        rope_axes_dim=(2, 4, 4),
    )
    return diffusers.HunyuanVideoPipeline(
        text_encoder=None,
        tokenizer=None,
        transformer=transformer,
        vae=vae,
        scheduler=_flow(),
        text_encoder_2=None,
        tokenizer_2=None,
    )


def _ltx(kind: type) -> Callable[[Any], Any]:
    def make(vae: Any) -> Any:
        transformer = diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=1,
            caption_channels=_TEXT,
        )
        return kind(scheduler=_flow(), vae=vae, text_encoder=None, tokenizer=None, transformer=transformer)

    return make


def _cogvideox(kind: type, channels_in: int) -> Callable[[Any], Any]:
    def make(vae: Any) -> Any:
        transformer = diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=channels_in,
            time_embed_dim=4,
            text_embed_dim=_TEXT,
            num_layers=1,
            sample_width=4,
            sample_height=2,
            sample_frames=17,
            max_text_seq_length=4,
            use_rotary_positional_embeddings=True,
        )
        scheduler = diffusers.CogVideoXDDIMScheduler()
        return kind(tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=scheduler)

    return make


def _mochi(vae: Any) -> Any:
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=8,
        attention_head_dim=8,
        num_layers=1,
        pooled_projection_dim=_TEXT,
        text_embed_dim=_TEXT,
        time_embed_dim=4,
        max_sequence_length=4,
    )
    return diffusers.MochiPipeline(
        scheduler=_flow(), vae=vae, text_encoder=None, tokenizer=None, transformer=transformer
    )


def _allegro(vae: Any) -> Any:
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        cross_attention_dim=24,
        sample_width=7,
        sample_height=8,
        sample_frames=5,
        caption_channels=_TEXT,
    )
    return diffusers.AllegroPipeline(
        tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=diffusers.DDIMScheduler()
    )


def _stable_diffusion(vae: Any) -> Any:
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        cross_attention_dim=_TEXT,
        attention_head_dim=2,
    )
    return diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _svd(vae: Any) -> Any:
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 64),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=_TEXT,
        num_attention_heads=2,
        num_frames=3,
    )
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = transformers.CLIPVisionConfig(**sizes, image_size=32, patch_size=16, projection_dim=_TEXT)
    return diffusers.StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=transformers.CLIPVisionModelWithProjection(vision).eval(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(),
        feature_extractor=transformers.CLIPImageProcessorPil(size=32, crop_size=32),
    )


def _flux(vae: Any) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_TEXT,
        pooled_projection_dim=_TEXT,
        axes_dims_rope=(4, 4, 8),
    )
    return diffusers.FluxPipeline(
        scheduler=_flow(),
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer,
    )


_MASKED = _prompt(mask=True)
_IMAGE = {"image": noise(1, 3, 16, 32)}
_SMALL = {"height": 16, "width": 32}
_POOLED = {"pooled_prompt_embeds": noise(1, _TEXT)}

PIPELINES: dict[str, Tiny] = {
    "WanPipeline": Tiny("wan-2.1", _wan(diffusers.WanPipeline, 16), _prompt() | _SMALL | {"num_frames": 9}),
    "WanImageToVideoPipeline": Tiny(
        "wan-2.1", _wan(diffusers.WanImageToVideoPipeline, 36), _prompt() | _IMAGE | _SMALL | {"num_frames": 5}
    ),
    "HunyuanVideoPipeline": Tiny(
        "hunyuan-video",
        _hunyuan,
        _POOLED
        | {"prompt_embeds": noise(1, 4, _TEXT), "prompt_attention_mask": torch.ones(1, 4)}
        | _SMALL
        | {"num_frames": 21},
    ),
    "LTXPipeline": Tiny(
        "ltx-video-0.9.5",
        _ltx(diffusers.LTXPipeline),
        _MASKED | {"height": 32, "width": 32, "num_frames": 9, "decode_timestep": 0.03, "decode_noise_scale": 0.02},
    ),
    "LTXImageToVideoPipeline": Tiny(
        "ltx-video-0.9.0",
        _ltx(diffusers.LTXImageToVideoPipeline),
        _MASKED | {"image": noise(1, 3, 32, 32), "height": 32, "width": 32, "num_frames": 9},
    ),
    "CogVideoXPipeline": Tiny(
        "cogvideox-2b", _cogvideox(diffusers.CogVideoXPipeline, 16), _prompt() | _SMALL | {"num_frames": 17}
    ),
    "CogVideoXImageToVideoPipeline": Tiny(
        "cogvideox-2b",
        _cogvideox(diffusers.CogVideoXImageToVideoPipeline, 32),
        _prompt() | _IMAGE | _SMALL | {"num_frames": 9},
    ),
    "MochiPipeline": Tiny("mochi-1", _mochi, _MASKED | _SMALL | {"num_frames": 7}),
    "AllegroPipeline": Tiny(
        "allegro", _allegro, _MASKED | {"height": 64, "width": 64, "num_frames": 20, "negative_prompt": None}
    ),
    "StableVideoDiffusionPipeline": Tiny(
        "svd",
        _svd,
        {
            "image": noise(1, 3, 32, 32),
            "height": 32,
            "width": 32,
            "num_frames": 3,
            "decode_chunk_size": 2,
            "min_guidance_scale": 1.0,
            "max_guidance_scale": 1.5,
        },
    ),
    "StableDiffusionPipeline": Tiny("sd", _stable_diffusion, _prompt() | {"height": 32, "width": 32}),
    "FluxPipeline": Tiny("flux.1", _flux, _POOLED | {"prompt_embeds": noise(1, 4, _TEXT), "height": 32, "width": 32}),
}


def run(pipe: Any, call: dict[str, Any]) -> Tensor:
    """The frames or images that it makes, always from the same noise."""
    torch.manual_seed(3)
    pipe.set_progress_bar_config(disable=True)
    out = pipe(**_CALL, **call, generator=torch.Generator().manual_seed(0))
    return out.images if hasattr(out, "images") else out.frames
