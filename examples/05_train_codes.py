"""Train an autoencoder whose latents are codes, then a prior over these codes, and draw a clip from it.

    python examples/05_train_codes.py [FOLDER OF CLIPS] [STEPS] [DRAWN.mp4]

Without arguments it does so for seconds on one small clip: enough to see every part at work, not to look good.
DRAWN.mp4 has, one below the other, clips, their reconstructions, and what was drawn from their first latent frame.
"""

import sys
import tempfile
from pathlib import Path

import torch

import vidlatent as vl
from vidlatent.diffusion.codes import CodeTransformer, CodeTransformerConfig
from vidlatent.quantize import usage
from vidlatent.train import run
from vidlatent.train.clips import ClipBatches, ClipDataConfig

root = Path(__file__).parents[1]
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 8
shown = Path(sys.argv[3]) if len(sys.argv) > 3 else None

with tempfile.TemporaryDirectory() as out:
    # A run is a file; its values can be changed by key. `smoke` is its small form.
    overrides = [f"data.folder={folder}", f"out={out}", f"stages.0.steps={steps}", "data.pool=4", "evaluation.clips=1"]
    overrides += [
        "model.config.bottleneck={kind: fsq, channels: 4, levels: [8, 5, 5, 5]}"
    ]  # few codes for a small prior
    metrics = run(root / "configs/autoencoder/fsq.yaml", overrides, smoke=True, show=print)
    print({name: round(value, 3) for name, value in metrics.items()})

    # What comes out is loaded as any other autoencoder.
    ae = vl.load(Path(out) / "model.safetensors")

# Its latents stand for codes, one to one.
data = iter(ClipBatches(ClipDataConfig(folder=folder, frames=9, size=64, batch=4, pool=4), seed=1))
video = next(data)["video"]
latents = ae.encode(video).mode()
(codes,) = ae.codes(latents)
assert ae.bottleneck is not None
print(f"{tuple(video.shape)} -> codes {tuple(codes.shape)} of {ae.bottleneck.bits:.1f} bits")
print(usage([codes], ae.bottleneck.sizes)[0])
assert torch.equal(ae.decode(ae.from_codes((codes,))), ae.decode(latents))

# A transformer learns which code follows which ...
torch.manual_seed(0)
size = ae.bottleneck.sizes[0]
prior = CodeTransformer(CodeTransformerConfig(size=size, dim=96, depth=2, heads=4, fingerprint=ae.fingerprint))
optimizer = torch.optim.AdamW(prior.parameters(), 2e-3)
for step in range(steps):
    optimizer.zero_grad()
    with torch.no_grad():
        (seen,) = ae.codes(ae.encode(next(data)["video"]).mode())
    loss = prior.loss(seen)
    loss.backward()
    optimizer.step()
    if step in (0, steps - 1):
        print(f"prior, step {step}: {loss.item():.2f} nats a code")

# ... and continues clips from their first latent frame, one code a pass: keys and values of those before are kept.
generator = torch.Generator().manual_seed(0)
drawn = prior.sample(tuple(codes.shape[1:]), begin=codes[:, :1], top_k=50, generator=generator)
pictures = ae.decode(ae.from_codes((drawn,))).clamp(-1, 1)
print("drawn:", tuple(pictures.shape))
if shown is not None:
    beside = torch.cat([video, ae.decode(latents).clamp(-1, 1), pictures], 3)  # true, reconstructed, drawn
    vl.write_video(shown, torch.cat(list(beside.split(1)), 4), fps=8)
