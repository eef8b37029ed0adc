"""How good a latent space is to diffuse in: what one clip tells, and what a tiny diffusion model makes of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, load
from vidlatent.evaluate.diffusability import diffusability
from vidlatent.io import to_float
from vidlatent.metrics import round_trip_gap, scale_error, shift_error


@torch.no_grad()
def latent_probe(ae: Autoencoder, frames: Tensor, latents: Tensor) -> dict[str, Any]:
    """Figures from a few frames, uint8 (T, H, W, 3), and from the clip's latents (1, C, t, h, w)."""
    spec, video = ae.latent_spec, to_float(frames)

    def encode(clip: Tensor) -> Tensor:
        return ae.encode(clip).mode().float().cpu()

    def decode(codes: Tensor) -> Tensor:
        return ae.decode(codes).clamp(-1, 1)

    few = latents[:, :, : spec.num_latent_frames(len(frames))]
    return {
        "scale_error": scale_error(encode, video),
        "shift_error": shift_error(encode, video, spec.stride[2]),
        "round_trip_gap": round_trip_gap(encode, decode, few),
    }


def diffusion_probe(rows: Sequence[dict[str, Any]], folder: Path, origin: str | None) -> dict[str, float]:
    """Figures of a candidate's latents over all of its clips; done once, then read from a file beside the rows.

    `origin` is the model that decodes samples; None leaves them out. Empty with fewer than three clips.
    """
    files = [folder / "latents" / f"{row['key']}.safetensors" for row in rows if row["status"] == "ok"]
    if len(files) < 3 or not all(file.is_file() for file in files):
        return {}
    identity = json.dumps([rows[0]["protocol"], rows[0]["fingerprint"], sorted(file.name for file in files)])
    path = folder / "probe" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        clips = [load_file(file)["latents"] for file in files]
        decode = None if origin is None else load(origin).decode
        found = diffusability(clips, rows[0]["latent_stride"], decode)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))
