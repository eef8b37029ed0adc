"""The pipeline against what bounds it: the autoencoder alone on decoded frames, the decoder alone, and flat memory.

    python benchmarks/encode_throughput.py [--clips 5000] [--videos DIR] [--json]

Model-bound: frames per second against the autoencoder on the same clips in memory as floating-point tensors; all that
the pipeline's process does from start to end counts, the fixed part too. Decode-bound: a tiny share of each frame is
encoded; frames per second against `open_video` in as many processes. Memory: many small clips; the resident memory of
main process and decoders over the last three quarters of the run. With `--videos`, for what encoding will cost: frames
of those videos that one core decodes and resizes in a second. Both sides take turns; beside the wall clock stands
the processor time of what is compared (the process with the model, the processes that decode), which a busy machine
changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import torch

import vidlatent as vl
from vidlatent.autoencoders import Autoencoder
from vidlatent.encode import Stats, encode_dataset

FRAMES, WINDOWS = 17, 5  # of a clip, clips of a video
# Autoencoder, side of its square clips, videos: enough for a run of some 20 seconds, as starting takes one or two.
MODELS: dict[str, tuple[Callable[[], Autoencoder], int, int]] = {
    "vidlatent-tiny": (lambda: vl.load("vidlatent-tiny"), 256, 24),
    "vidlatent-tiny, 128 pixels": (lambda: vl.load("vidlatent-tiny"), 128, 96),
    "wan-2.1, width 16": (lambda: vl.build("wan-2.1", base_dim=16), 128, 12),
}
Pace = tuple[float, float]  # frames per second of the clock, and of the processor


def narrow(width: int) -> Autoencoder:
    widths, blocks = (width, width), (1, 1)
    return vl.build(
        "vidlatent-tiny", encoder_widths=widths, decoder_widths=(8, 8), encoder_blocks=blocks, decoder_blocks=blocks
    )


def noise_video(path: Path, frames: int, height: int, width: int, seed: int) -> Path:
    """Blocks of colour that drift: as hard to decode as a video, and different from file to file."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.rand(1, 3, height // 8 + 8, width // 8 + 8, generator=generator)
    large = torch.nn.functional.interpolate(field, scale_factor=8, mode="bilinear")[0]
    pieces = [large[:, t % 48 : t % 48 + height, t % 40 : t % 40 + width] for t in range(frames)]
    video = (torch.stack(pieces) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return vl.write_video(path, video, fps=25, crf=20)


def encoded(folder: Path, ae: Autoencoder, **options: Any) -> Stats:
    with tempfile.TemporaryDirectory() as out:
        return encode_dataset(folder, out, model=ae, device="cpu", **{"frames": FRAMES, **options})


def model_bound(folder: Path, rounds: int, decoders: int) -> dict[str, Any]:
    """For several models: frames a second of the pipeline over those of the autoencoder alone, a clip at a time."""
    found = {}
    for name, (ae, side, videos) in MODELS.items():
        place = folder / name
        place.mkdir()
        found[name] = _model_bound(place, ae(), side, videos, rounds, decoders)
    return found


def _model_bound(folder: Path, ae: Autoencoder, side: int, videos: int, rounds: int, decoders: int) -> dict[str, Any]:
    paths = [noise_video(folder / f"{index}.mp4", WINDOWS * FRAMES, side, side, index) for index in range(videos)]
    few = []
    for path in paths[:6]:
        with vl.open_video(path, chunk_frames=FRAMES) as video:
            few += [vl.to_float(clip.frames) for clip in video]
    clips = few * (videos // 6)  # again and again, as all of them would take gigabytes

    def bare() -> Pace:
        started, used = time.perf_counter(), time.process_time()
        with torch.no_grad():
            for clip in clips:
                ae.encode(clip)
        return _pace(len(clips) * FRAMES, time.perf_counter() - started, time.process_time() - used)

    def pipeline() -> Pace:
        started, used = time.perf_counter(), time.process_time()
        stats = encoded(folder, ae, decoders=decoders)
        assert stats.clips == len(clips)
        return _pace(stats.frames, time.perf_counter() - started, time.process_time() - used)

    return _compared("autoencoder", bare, pipeline, rounds)


def _decode(path: str) -> int:
    torch.set_num_threads(1)
    with vl.open_video(path, chunk_frames=8, num_threads=1, size=(32, 32)) as video:
        return sum(clip.num_frames for clip in video)


def decode_bound(folder: Path, rounds: int, decoders: int) -> dict[str, Any]:
    """Frames a second of the pipeline over those of as many processes that only decode and resize."""
    ae = narrow(8)
    for index in range(4):
        noise_video(folder / f"{index}.mp4", 6 * FRAMES, 720, 1280, index)
    paths = [str(path) for path in sorted(folder.iterdir())]
    with ProcessPoolExecutor(decoders, mp_context=get_context("forkserver")) as pool:

        def bare() -> Pace:
            list(pool.map(_decode, paths[:1] * decoders))  # started and warm, as the pipeline's clock starts later
            started, used = time.perf_counter(), _used_by_others()
            frames = sum(pool.map(_decode, paths))
            return _pace(frames, time.perf_counter() - started, _used_by_others() - used)

        def pipeline() -> Pace:
            return _steady(folder, ae, _used_by_others, decoders=decoders, size=(32, 32))

        return _compared("decoder", bare, pipeline, rounds)


def _pace(frames: int, wall: float, used: float) -> Pace:
    return frames / wall, frames / used


def _steady(folder: Path, ae: Autoencoder, used: Callable[[], float], **options: Any) -> Pace:
    """Pace from the first clips stored to the last, without what starting and finishing take."""
    notes: list[tuple[int, float, float]] = []
    encoded(folder, ae, progress=lambda stats: notes.append((stats.frames, stats.elapsed, used())), **options)
    first = next(note for note in notes if note[0])
    return _pace(*(late - early for late, early in zip(notes[-1], first, strict=True)))  # type: ignore[arg-type]


def _used_by_others() -> float:
    """Processor seconds of all processes below this one, those that have ended and been waited for among them."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def _compared(other: str, bare: Callable[[], Pace], pipeline: Callable[[], Pace], rounds: int) -> dict[str, Any]:
    pairs = [(pipeline(), bare()) for _ in range(rounds)]
    found = {}
    for index, name in enumerate(("second", "cpu_second")):
        found[f"ratio_by_{name}"] = round(statistics.median(a[index] / b[index] for a, b in pairs), 3)
        found[f"pipeline_frames_per_{name}"] = round(statistics.median(a[index] for a, _ in pairs), 1)
        found[f"{other}_frames_per_{name}"] = round(statistics.median(b[index] for _, b in pairs), 1)
    return found


def flat_memory(folder: Path, clips: int) -> dict[str, Any]:
    """Resident memory at the end over that after the first quarter, with a buffer that is full or empty long before."""
    ae = narrow(8)
    sources = [noise_video(folder / f"{index}.mp4", 8 + index, 48, 64, index) for index in range(10)]
    for index in range(10, clips):  # other bytes, so that each is a clip of its own
        data = sources[index % 10].read_bytes()
        (folder / f"{index}.mp4").write_bytes(data + index.to_bytes(4, "big") + b"free" + bytes(4))
    me, held = psutil.Process(), []

    def note(stats: Stats) -> None:
        others = [_private(child) for child in me.children(recursive=True)]
        held.append((stats.clips, _private(me), sum(others), stats.fill or 0.0))

    stats = encoded(folder, ae, frames=None, decoders=2, buffer=2**24, progress=note)
    late = [entry[1:] for entry in held[:-1] if entry[0] >= stats.clips / 4]
    share = max(1, len(late) // 8)
    first, last = (
        [statistics.median(values) for values in zip(*part, strict=True)] for part in (late[:share], late[-share:])
    )
    return {
        "clips": stats.clips,
        "memory_end_over_quarter": round(sum(last[:2]) / sum(first[:2]), 3),
        "growth_mib": {"main": _mib(last[0] - first[0]), "decoders": _mib(last[1] - first[1])},
        "resident_mib": {"main": _mib(last[0]), "decoders": _mib(last[1])},
        "buffer_fill": [round(first[2], 2), round(last[2], 2)],
        "clips_per_second": round(stats.clips / stats.elapsed, 1),
    }


def _private(process: psutil.Process) -> int:
    """Resident bytes that are this process's own."""
    try:
        info = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(info.rss - info.shared)


def _mib(num_bytes: float) -> float:
    return round(num_bytes / 2**20, 1)


def rates(folder: Path, frames: int = 64) -> dict[str, Any]:
    """Frames per processor second of decoding and resizing the first frames of each video, one thread."""
    found: dict[str, Any] = {}
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    for height, width in ((256, 256), (480, 832)):
        paces = []
        for path in paths:
            used, count = time.process_time(), 0
            with vl.open_video(path, chunk_frames=8, num_threads=1, size=(height, width)) as video:
                for clip in video:
                    count += clip.num_frames
                    if count >= frames:
                        break
            paces.append(count / (time.process_time() - used))
        least, most = min(paces), max(paces)
        found[f"{height}x{width}"] = {
            name: round(pace, 1)
            for name, pace in (("median", statistics.median(paces)), ("least", least), ("most", most))
        }
    return {"videos": len(paths), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5000, help="small clips for the memory run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decoders", type=int, default=1, help="decode processes; leave a core for the model")
    parser.add_argument("--only", choices=("model", "decode", "memory", "rates"))
    parser.add_argument("--videos", type=Path, help="folder of videos to decode, for their rates")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[str, Callable[[Path], dict[str, Any]]] = {
        "model": lambda folder: model_bound(folder, arguments.rounds, arguments.decoders),
        "decode": lambda folder: decode_bound(folder, arguments.rounds, arguments.decoders),
        "memory": lambda folder: flat_memory(folder, arguments.clips),
    }
    if arguments.videos is not None:
        runs["rates"] = lambda _: rates(arguments.videos)
    record: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1)}
    for name, run in runs.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                record[name] = run(Path(folder))
            if not arguments.json:
                print(name, record[name], flush=True)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
