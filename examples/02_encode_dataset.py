"""A folder of videos to a latent dataset, stopped and started again, with a manifest and with windows.

    python examples/02_encode_dataset.py [VIDEOS]

What decodes is a process of its own, so a script that encodes a dataset keeps what it does under `__main__`.
"""

import json
import sys
import tempfile
from pathlib import Path

import vidlatent as vl
from vidlatent.encode import encode_dataset, resume_dataset

HERE = Path(__file__).parent


def main(videos: Path, out: Path) -> None:
    # A manifest says which part of which video, and what is in it; further columns are kept. A folder would do as well.
    manifest = out / "clips.jsonl"
    rows = [
        {"path": str(videos / "bay.mp4"), "start": 0, "stop": 1, "caption": "a bay from above", "place": "north"},
        {"path": str(videos / "bay.mp4"), "start": 1, "stop": 2, "caption": "the same bay, later", "place": "north"},
        {"path": str(videos / "gone.mp4"), "caption": "a file that is missing"},
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))

    # Windows of 5 frames at 64x64, ten a second. A bad row is told and the run goes on.
    latents = out / "latents"
    stats = encode_dataset(manifest, latents, model="vidlatent-tiny", size=(64, 64), frames=5, fps=10, decoders=1)
    print(f"{stats.clips} clips of {stats.frames} frames, {stats.failures} failed:")
    print((latents / "failures.jsonl").read_text().strip().splitlines()[0][:200])

    # Started again, nothing is encoded twice: what is there is known by the videos' bytes, the span and the transform.
    print("again:", resume_dataset(latents).clips, "clips encoded")

    # Other settings in the same place are refused, by name.
    try:
        resume_dataset(latents, frames=9)
    except vl.LatentFileError as error:
        print("refused:", str(error).split(":", 1)[1][:120])

    # And this is what a training loop reads.
    dataset = vl.open_latents(latents)
    item = dataset[0]
    print(len(dataset), tuple(item["latents"].shape), item["caption"], item["meta"].columns)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE, Path(folder))
