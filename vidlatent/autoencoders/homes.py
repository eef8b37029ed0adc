"""Where each family comes from: the repository whose code and model cards say what it is."""

from __future__ import annotations

_GITHUB = "https://github.com/"

HOMES: dict[str, str] = {
    "wan": _GITHUB + "Wan-Video/Wan2.1",
    "qwen-image": _GITHUB + "QwenLM/Qwen-Image",
    "ltx-video": _GITHUB + "Lightricks/LTX-Video",
    "ltx-2": _GITHUB + "Lightricks/LTX-2",
    "ltx-2.5": _GITHUB + "Lightricks/LTX-2",
    "mochi": _GITHUB + "genmoai/mochi",
    "allegro": _GITHUB + "rhymes-ai/Allegro",
    "taehv": _GITHUB + "madebyollin/taehv",
    "image-kl": _GITHUB + "CompVis/stable-diffusion",
    "svd": _GITHUB + "Stability-AI/generative-models",
    "cosmos": _GITHUB + "nvidia-cosmos/cosmos-predict1",
    "cosmos-image": _GITHUB + "nvidia-cosmos/cosmos-predict1",
    "cogvideox": _GITHUB + "zai-org/CogVideo",
    "dc-ae": _GITHUB + "mit-han-lab/efficientvit",
    "dc-ae-v": _GITHUB + "dc-ai-projects/DC-Gen",
    "dc-ae-video": _GITHUB + "hpcaitech/Open-Sora",
    "hunyuan-video": _GITHUB + "Tencent-Hunyuan/HunyuanVideo",
    "hunyuan-video-1.5": _GITHUB + "Tencent-Hunyuan/HunyuanVideo-1.5",
    "magvit": _GITHUB + "aigc-apps/EasyAnimate",
    "minimax-h3": _GITHUB + "huggingface/diffusers",  # the code that is public
    "vidtok": _GITHUB + "microsoft/VidTok",
    "wf-vae": _GITHUB + "PKU-YuanGroup/WF-VAE",
    "kvae": _GITHUB + "kandinskylab/kvae-1",
    "lean-vae": _GITHUB + "westlake-repl/LeanVAE",
}
"""Families that are defined here have none."""
