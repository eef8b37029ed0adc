"""Train an autoencoder whose latents are codes, then a prior over these codes, and draw a clip from it.

    python examples/05_train_codes.py [FOLDER OF CLIPS] [STEPS]

Without arguments it does so for seconds on one small clip: enough to see every part at work, not to look good.
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

with tempfile.TemporaryDirectory() as out:
    # A run is a file; its values can be changed by key. `smoke` is its small form.
    overrides = [f"data.folder={folder}", f"out={out}", f"stages.0.steps={steps}", "data.pool=4", "evaluation.clips=1"]
    metrics = run(root / "configs/autoencoder/fsq.yaml", overrides, smoke=True, show=print)
    print({name: round(value, 3) for name, value in metrics.items()})

    # What comes out is loaded as any other autoencoder.
    ae = vl.load(Path(out) / "model.safetensors")

# Its latents stand for codes, one to one.
data = ClipBatches(ClipDataConfig(folder=folder, frames=5, size=32, batch=8, pool=4), seed=1)
video = next(iter(data))["video"]
latents = ae.encode(video).mode()
(codes,) = ae.codes(latents)
assert ae.bottleneck is not None
print(f"{tuple(video.shape)} -> codes {tuple(codes.shape)} of {ae.bottleneck.bits:.1f} bits")
print(usage([codes], ae.bottleneck.sizes)[0])
assert torch.equal(ae.decode(ae.from_codes((codes,))), ae.decode(latents))

# A transformer learns which code follows which ...
torch.manual_seed(0)
size = ae.bottleneck.sizes[0]
prior = CodeTransformer(CodeTransformerConfig(size=size, dim=32, depth=1, heads=2, fingerprint=ae.fingerprint))
optimizer = torch.optim.AdamW(prior.parameters(), 3e-3)
for step in range(steps):
    optimizer.zero_grad()
    loss = prior.loss(codes)
    loss.backward()
    optimizer.step()
    if step in (0, steps - 1):
        print(f"prior, step {step}: {loss.item():.2f} nats a code")

# ... and continues a clip from its first latent frame.
drawn = prior.sample(tuple(codes.shape[1:]), begin=codes[:1, :1], top_k=50)
print("drawn:", tuple(ae.decode(ae.from_codes((drawn,))).shape))
