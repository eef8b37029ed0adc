"""A clip to latents and back, whole and in slabs, and what the latents are like.

    python examples/01_reconstruct.py [CLIP]

Read it top to bottom: load, encode, decode, compare, stream, write.
"""

import sys
import tempfile
from pathlib import Path

import torch

import vidlatent as vl
from vidlatent.metrics import psnr
from vidlatent.testing import relative_error

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "bay.mp4"

# A video opens as a stream of clips; one of 33 frames is enough here.
with vl.open_video(path, chunk_frames=33) as source:
    print(source.spec)
    video = vl.to_float(next(iter(source)).frames)  # (1, 3, T, H, W) in [-1, 1]

# Encoding gives a posterior; its mode is what one keeps. Any size works: it is fitted to the strides and cropped back.
ae = vl.load("vidlatent-tiny")
posterior = ae.encode(video)
latents = posterior.mode()
print(f"{tuple(video.shape)} -> {tuple(latents.shape)}: {video.numel() / latents.numel():.0f} numbers to one")

# Decoding takes the true length and size along.
again = ae.decode(latents, num_frames=posterior.num_frames, size=posterior.size).clamp(-1, 1)
print(f"PSNR {psnr(again, video):.2f} dB")

# Memory is a parameter. Here are three ways to cut the same work; the answer stays.
for plan in (vl.Plan((2,), chunk=4), vl.Plan((3,), strip=64), vl.Plan((2, 3), chunk=8, strip=64)):
    swept = ae.encode(video, plan=plan)
    print(f"{plan}: relative difference {relative_error(swept.mode(), latents):.1e}")
print("within half the memory:", vl.plan(ae, frames=33, height=240, width=426, memory="200MiB"))

# A diffusion model is fed normalised latents, about zero mean and unit variance per channel.
normal = ae.normalize(latents)
print(f"normalised: mean {normal.mean():+.2f}, standard deviation {normal.std():.2f}")

# Frame by frame, as a generator would: each latent becomes video as soon as it is there.
with tempfile.TemporaryDirectory() as folder, ae.stream_decoder(size=posterior.size) as decoder:
    frames = [decoder.push(latent) for latent in latents.split(1, dim=2)] + [decoder.finish()]
    print("frames by latent:", [piece.shape[2] for piece in frames])
    written = vl.write_video(Path(folder) / "again.mp4", vl.to_uint8(torch.cat(frames, 2)), fps=24)
    print(f"{written.name}: {written.stat().st_size / 1e3:.0f} kB")
