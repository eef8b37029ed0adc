"""Read latents for training: clips, windows, batches; and the same shards by webdataset alone.

    python examples/03_read_latents.py [DATASET]

Without a dataset it makes a small one of the clip that lies beside it, window by window, and throws it away.
"""

import json
import sys
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load
from torch.utils.data import DataLoader

import vidlatent as vl
from vidlatent.latents import ClipMeta, ClipSource, DatasetSettings, DatasetWriter, content_hash, content_key

SIZE, FRAMES = (120, 212), 17


def make(folder: Path) -> None:
    """What `vidlatent encode-dataset` does for many videos, here by hand for three windows of one."""
    clip = Path(__file__).parent / "bay.mp4"
    ae = vl.load("vidlatent-tiny")
    settings = DatasetSettings(ae.fingerprint, "vidlatent-tiny", asdict(ae.latent_spec), recipe={"frames": FRAMES})
    digest = content_hash(clip)
    with DatasetWriter(folder, settings) as writer, vl.open_video(clip, chunk_frames=FRAMES, size=SIZE) as video:
        for number, piece in zip(range(3), video, strict=False):
            start = piece.pts_seconds[0]
            with torch.no_grad():
                latents = ae.encode(vl.to_float(piece.frames)).mode()
            meta = ClipMeta(
                num_frames=FRAMES,
                size=SIZE,
                fps=video.spec.fps,
                pts_seconds=piece.pts_seconds,
                source=ClipSource(uri=clip.name, sha256=digest, start_seconds=start, size=SIZE),
                caption="a bay, seen from a hill",
                columns={"part": number},
            )
            writer.add(content_key(digest, start, None, {"frames": FRAMES, "size": SIZE}), latents, meta)


def read(folder: Path) -> None:
    dataset = vl.open_latents(folder)
    print(dataset)
    print("channel means", dataset.stats.mean.numpy().round(2))

    # A clip is a dict; a window of latent frames is one contiguous read.
    sample = dataset[0]
    print(sample["key"], tuple(sample["latents"].shape), sample["caption"], dict(sample["meta"].columns))
    print("latent frames 1 to 3:", tuple(dataset.window(0, 1, 2).shape))

    # Batches for training: normalised, shuffled by seed and epoch, one random window of each clip.
    normal = vl.open_latents(folder, normalize="spec")
    batches = normal.batches(frames=4, batch_size=2, drop_last=False, seed=0)
    for epoch in range(2):
        batches.set_epoch(epoch)
        for batch in DataLoader(batches, batch_size=None, num_workers=0):  # take workers in earnest
            z = batch["latents"]  # (B, C, t, h, w), what a diffusion model is fed
            print(f"epoch {epoch}: {tuple(z.shape)}, mean {z.mean():+.2f}, std {z.std():.2f}, {batch['captions']}")
            saved = batch["state"]  # goes into the checkpoint; batches.load_state_dict(saved) goes on after this batch
    print("state", {name: saved[name] for name in ("epoch", "done")})


def read_without_us(folder: Path) -> None:
    """The shards are plain tar with WebDataset's names and plain safetensors inside."""
    shards = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    with tarfile.open(shards[0]) as archive:
        print("tar:", *archive.getnames()[:2])
    try:
        import webdataset
    except ModuleNotFoundError:
        return
    decode = {"latent.safetensors": lambda data: load(data)["mean"], "json": json.loads}
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        fields = {name: decode[name](sample[name]) for name in decode}
        print("webdataset:", sample["__key__"], tuple(fields["latent.safetensors"].shape), fields["json"]["caption"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        read(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            read(Path(name))
            read_without_us(Path(name))
