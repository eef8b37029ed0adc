"""Image autoencoders as diffusers stores them: the configuration in both directions."""

from __future__ import annotations

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.image_kl.config import ImageKLConfig
from vidlatent.autoencoders.image_kl.weights import links
from vidlatent.autoencoders.published import Published

_KEYS = ConfigKeys(
    "AutoencoderKL",
    ImageKLConfig,
    names={
        "block_out_channels": "widths",
        "layers_per_block": "num_res_blocks",
        "latent_channels": "latent_channels",
        "norm_num_groups": "groups",
        "scaling_factor": "scaling_factor",
        "shift_factor": "shift_factor",
        "latents_mean": "mean",
        "latents_std": "std",
        "use_quant_conv": "quant_conv",
        "use_post_quant_conv": "post_quant_conv",
        "mid_block_add_attention": "middle_attention",
        "sample_size": "sample_size",
    },
    fixed={"in_channels": 3, "out_channels": 3, "act_fn": "silu"},
    per_level={"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"},
    ignored={"force_upcast": True},
    absent={"block_out_channels": [64], "layers_per_block": 1, "sample_size": 32},
)


IMAGE_KL = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, links, namings=("diffusers", "original", "early"))
