"""Live in the latent space of an autoencoder that others already use.

    python examples/06_in_anothers_latents.py [FOLDER OF CLIPS] [STEPS]

Two ways: distil a small autoencoder into a large one's latents, or train a loaded one's decoder on clips of one's own.
Here the large one is vidlatent-tiny and the runs last seconds; the files name the real ones.
"""

import sys
import tempfile
from pathlib import Path

import torch

import vidlatent as vl
from vidlatent.metrics import psnr
from vidlatent.train import run

recipes = Path(__file__).parents[1] / "configs/autoencoder"
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 8

teacher = vl.load("vidlatent-tiny")
with vl.open_video(sorted(folder.glob("*.mp4"))[0], size=(64, 64), chunk_frames=9) as source:
    video = vl.to_float(next(iter(source)).frames)
wanted = teacher.encode(video).mode()


def trained(recipe: str, out: str) -> vl.Autoencoder:
    """The recipe's small form, trained for a moment."""
    overrides = [f"data.folder={folder}", f"out={out}", f"stages.0.steps={steps}", "data.pool=4", "evaluation.clips=1"]
    run(recipes / f"{recipe}.yaml", overrides, smoke=True)
    return vl.load(Path(out) / "model.safetensors")


with tempfile.TemporaryDirectory() as out:
    student = trained("distil-into-wan", out)
parameters = [sum(weight.numel() for weight in ae.parameters()) / 1e6 for ae in (teacher, student)]
print("parameters: {:.2f} million, distilled into {:.2f} million".format(*parameters))
# Latents of one are decoded by the other.
print(f"teacher's latents, student's decoder: {psnr(student.decode(wanted), video):.2f} dB")
print(f"student's latents, teacher's decoder: {psnr(teacher.decode(student.encode(video).mode()), video):.2f} dB")

with tempfile.TemporaryDirectory() as out:
    tuned = trained("finetune-decoder", out)
assert torch.equal(tuned.encode(video).mode(), wanted), "only the decoder was trained"
before, after = (psnr(ae.decode(wanted), video) for ae in (teacher, tuned))
print(f"decoder trained on these clips for {steps} steps: {before:.2f} -> {after:.2f} dB")
