"""Names of LTX-2.5's weights as its authors store them: a file of the whole pipeline, or the autoencoder's part of it.

Names are those of github.com/Lightricks/LTX-2: ltx_core/model/video_vae. Distilled checkpoints have gates, which are
multiplied into the layers in front of them when read, and heads for previews, which are passed over. diffusers keeps
the encoder and this decoder in two folders, of which only the authors' files are read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.links import Link, Order, Shape
from vidlatent.autoencoders.ltx import weights
from vidlatent.autoencoders.ltx_25.config import LTX25Config
from vidlatent.autoencoders.published import Naming, Published, no_folder
from vidlatent.autoencoders.renaming import Rule, rename

_RULES: tuple[Rule, ...] = (
    (r"^decoder\.body\.", "decoder."),
    (r"\.branches\.1\.", "."),
    (r"\.stages\.(\d+)\.blocks\.", r".det_stages.\1."),
    (r"\.stages\.(\d+)\.up\.", r".upsamples.\1."),
    (r"^decoder\.blocks\.(\d+)\.inject\.proj\.", r"decoder.diff_blocks.\1.context_proj."),
    (r"^decoder\.blocks\.(\d+)\.modulation\.weight", r"decoder.diff_blocks.\1.scale_shift_table"),
    (r"^decoder\.blocks\.(\d+)\.block\.", r"decoder.diff_blocks.\1."),
    (r"\.attn\.body\.norm\.", ".norm1."),
    (r"\.attn\.body\.attention\.to_qkv\.", ".attn.qkv."),
    (r"\.attn\.body\.attention\.norm_([qk])", r".attn.\1_norm.weight"),
    (r"\.attn\.body\.to_out\.", ".attn.proj."),
    (r"\.mlp\.body\.norm\.", ".norm2."),
    (r"\.mlp\.body\.mlp\.narrow\.", ".mlp.w_down."),
    (r"^decoder\.level\.linear_1\.", "decoder.t_embedder.mlp.0."),
    (r"^decoder\.level\.linear_2\.", "decoder.t_embedder.mlp.2."),
    (r"^decoder\.level\.", "decoder.shared_adaln."),
    (r"^decoder\.noise\.proj\.", "decoder.conv_in_x_t."),
)
_WIDEN = ".mlp.body.mlp.widen.weight"
_GATED = {
    "gate_msa": ("attn.proj.weight", "attn.proj.bias"),
    "gate_mlp": ("mlp.w_down.weight",),
    "gate_ctx": ("context_proj.weight", "context_proj.bias"),
}
_PREVIEW = "coarse_"


def _links(config: LTX25Config, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    encoder = {name: shape for name, shape in shapes.items() if name.startswith("encoder.")}
    decoder = {name: shape for name, shape in shapes.items() if name not in encoder}
    return [*weights.links_2(config.encoder, encoder, naming), *_decoder(config, decoder)]


def _decoder(config: LTX25Config, shapes: Mapping[str, Shape]) -> Iterator[Link]:
    patch = config.patch_size
    for ours, shape in shapes.items():
        theirs, flat = rename(ours, _RULES), shape[:2]  # every layer is linear there
        if ours.endswith(_WIDEN):
            for index, name in enumerate(("w_up", "w_gate")):
                half = theirs.replace(_WIDEN, f".mlp.{name}.weight")
                yield Link(ours, half, (flat[0] // 2, flat[1]), part=(index, 2))
        else:  # columns of a patch before its rows, as the other LTX have it
            is_last = theirs.startswith("decoder.conv_out.")
            yield Link(ours, theirs, flat, Order(0, (3, patch, patch), (0, 2, 1)) if is_last else None)


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Latent statistics, and the autoencoder's weights without gates."""
    fields, found = weights.unpack(tensors)
    kept = {name: tensor for name, tensor in found.items() if _PREVIEW not in name}
    for name in [name for name in kept if name.rpartition(".")[2] in _GATED]:
        block, _, kind = name.rpartition(".")
        gate = kept.pop(name).float()
        for target in (f"{block}.{layer}" for layer in _GATED[kind]):
            if target in kept:
                layer = kept[target]
                kept[target] = (gate.view(-1, *[1] * (layer.ndim - 1)) * layer.float()).to(layer.dtype)
    return fields, kept


LTX_25 = Published(
    "", no_folder("LTX-2.5 in one folder"), no_folder("LTX-2.5 in one folder"), _links, _unpack, namings=("original",)
)
