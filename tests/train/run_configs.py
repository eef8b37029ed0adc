"""A run that takes a second, as the values of its configuration file."""

from pathlib import Path
from typing import Any

import yaml
from torch import nn

MODEL = {
    "family": "configurable",
    "config": {
        "encoder_widths": [8, 8],
        "decoder_widths": [8, 8],
        "encoder_blocks": [0, 1],
        "decoder_blocks": [0, 1],
        "steps": [[2, 2, 2]],
        "patch": "haar",
        "patch_factors": [2, 2, 2],
        "attention": ["none", "none"],
        "bottleneck": {"kind": "kl", "channels": 8},
    },
}
LOSSES = {"l1": 1, "kl": 1e-6}


def values(clips: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """The run, with top-level keys replaced."""
    run = {
        "kind": "autoencoder",
        "out": str(out),
        "trackers": [],
        "log_every": 1,
        "save_every": 2,
        "model": MODEL,
        "data": {"folder": str(clips), "frames": 5, "size": 32, "batch": 1, "pool": 4},
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 2},
        "evaluation": {"clips": 2},
        "stages": [{"name": "one", "steps": 4, "losses": LOSSES}],
    }
    return run | changes


def write(path: Path, run: dict[str, Any]) -> Path:
    """The run as a file."""
    path.write_text(yaml.safe_dump(run))
    return path


def downsampled() -> nn.Module:
    """A frozen network that latents can be aligned with."""
    return nn.AvgPool3d((1, 4, 4))
