"""Random windows of latents: this store against raw mmap of the same bytes, webdataset, and one .pt file per clip.

    python benchmarks/latent_reader.py [--json] [--clips 48] [--rounds 7]

Every side gives the same windows as tensors of their own. The files are in the page cache, as in the second epoch of a
dataset that fits in memory; processor time, one thread. "webdataset" has no windows: it reads samples in the order of
the shards, parses each, and cuts one window out of it. Ratios are to raw copies into tensors of the same size.
"""

from __future__ import annotations

import argparse
import json
import mmap
import random
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from measure import median_ratio

from vidlatent.latents import ClipMeta, DatasetSettings, DatasetWriter, LatentDataset, content_key

SHAPE = (21, 16, 60, 104)  # 81 frames of 480 x 832 at 4x8x8
LENGTH, BATCH = 5, 4
SPEC = {"channels": 16, "stride": (4, 8, 8), "first_frame": "single", "mean": (), "std": ()}

Side = Callable[[], int]  # reads, and says how many windows


def write(folder: Path, clips: int) -> None:
    """The same latents as a dataset and as one file per clip."""
    settings = DatasetSettings("0" * 16, "none", SPEC)
    times = [Fraction(number, 24) for number in range(81)]
    meta = ClipMeta(81, (480, 832), Fraction(24), times, caption="noise")
    (folder / "pt").mkdir()
    with DatasetWriter(folder / "dataset", settings, shard_bytes=2**26) as writer:
        for number in range(clips):
            latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(number)).bfloat16()
            key = content_key(str(number))
            writer.add(key, latents, meta)
            torch.save(latents, folder / "pt" / f"{key}.pt")


def store(dataset: LatentDataset, windows: list[tuple[int, int]]) -> Side:
    def read() -> int:
        for clip, start in windows:
            dataset.window(clip, start, LENGTH)
        return len(windows)

    return read


def batches(dataset: LatentDataset, windows: list[tuple[int, int]], *, with_meta: bool) -> Side:
    stream = dataset.batches(frames=LENGTH, windows="all", stride=1, batch_size=BATCH, with_meta=with_meta)

    def read() -> int:
        return sum(len(batch["latents"]) for batch in islice(stream, len(windows) // BATCH))

    return read


def raw(dataset: LatentDataset, windows: list[tuple[int, int]], *, at_once: int = 1) -> Side:
    """Copies of the bytes at addresses known beforehand, into tensors of so many: what a reader can at best do."""
    columns, frame_bytes = dataset.columns, 2 * int(np.prod(SHAPE[1:]))
    maps = []
    for name in columns.tars:
        with (Path(dataset.folder.url) / name).open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    places = []
    for clip, start in windows:
        shard, _, _, segment, *_ = columns.places[clip].tolist()
        places.append((maps[shard], columns.data.item(segment) + start * frame_bytes))
    num_bytes = LENGTH * frame_bytes

    def read() -> int:
        for first in range(0, len(places), at_once):
            target = torch.empty((at_once, num_bytes), dtype=torch.uint8).numpy()
            for row, (mapped, position) in zip(target, places[first : first + at_once], strict=False):
                np.copyto(row, np.frombuffer(mapped, np.uint8, num_bytes, position))
        return len(places)

    return read


def webdataset(folder: Path, windows: list[tuple[int, int]]) -> Side:
    import webdataset as wds
    from safetensors.torch import load

    shards = sorted(map(str, (folder / "dataset" / "shards").glob("*.tar")))

    def read() -> int:
        count = 0
        while count < len(windows):
            for sample in wds.WebDataset(shards, shardshuffle=False):
                start = windows[count % len(windows)][1]
                load(sample["latent.safetensors"])["mean"][start : start + LENGTH].clone()
                count += 1
        return count

    return read


def files(folder: Path, dataset: LatentDataset, windows: list[tuple[int, int]], *, mapped: bool) -> Side:
    def read() -> int:
        for clip, start in windows:
            latents = torch.load(folder / "pt" / f"{dataset.key(clip)}.pt", weights_only=True, mmap=mapped)
            latents[start : start + LENGTH].clone()
        return len(windows)

    return read


def measure(sides: dict[str, Side], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds per window of every side in interleaved rounds, after one to warm up: processor and clock."""
    found: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            cpu, wall = time.process_time(), time.perf_counter()
            count = side()
            if turn:
                found[name]["cpu"].append((time.process_time() - cpu) / count)
                found[name]["wall"].append((time.perf_counter() - wall) / count)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--windows", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.clips)
        dataset = LatentDataset(folder / "dataset")
        draw = random.Random(0)
        windows = [
            (draw.randrange(options.clips), draw.randrange(SHAPE[0] - LENGTH + 1)) for _ in range(options.windows)
        ]
        sides = {
            "raw mmap": raw(dataset, windows),
            "window": store(dataset, windows),
            "raw mmap, batches of 4": raw(dataset, windows, at_once=BATCH),
            "batches of 4": batches(dataset, windows, with_meta=False),
            "batches of 4, descriptions": batches(dataset, windows, with_meta=True),
            "webdataset": webdataset(folder, windows),
            "one .pt per clip": files(folder, dataset, windows, mapped=False),
            "one .pt per clip, mmap": files(folder, dataset, windows, mapped=True),
        }
        found = measure(sides, options.rounds)
    megabytes = LENGTH * 2 * float(np.prod(SHAPE[1:])) / 1e6
    record: dict[str, dict[str, float]] = {}
    for side, times in found.items():
        best = "raw mmap, batches of 4" if "batches" in side else "raw mmap"
        cpu, wall = (float(np.median(times[clock])) for clock in ("cpu", "wall"))
        record[side] = {
            "of_raw": round(median_ratio(found[best]["cpu"], times["cpu"]), 3),
            "of_raw_wall": round(median_ratio(found[best]["wall"], times["wall"]), 3),
            "windows_per_cpu_second": round(1 / cpu, 1),
            "windows_per_second": round(1 / wall, 1),
            "megabytes_per_second": round(megabytes / wall, 1),
        }
        if not options.json:
            print(f"{side:28s} {1 / cpu:8.0f} windows/CPU-s {megabytes / wall:8.0f} MB/s  {record[side]['of_raw']:.3f}")
    print(json.dumps({"benchmark": "latent_reader", "window_megabytes": megabytes, "sides": record}))


if __name__ == "__main__":
    main()
