"""Streams of several plans side by side, each saved after every slab; started again, they go on where they were.

Each case has a file that is replaced as a whole: what is complete of the answer, the stream's state, and how many slabs
are done.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import vidlatent as vl
from vidlatent.streaming import H, Plan, T

SIZE = (26, 36)
"""Of a frame; not a multiple of the stride."""
CUTS = (4, 1, 5, 3, 2, 6, 1)
"""Frames, or latent frames, that are pushed at once."""


@dataclass(frozen=True)
class Case:
    """A direction, and what says how to cut: a plan or a budget."""

    direction: str
    plan: Plan | None = None
    memory: str | None = None


CASES = {
    "encode, frames": Case("encode", Plan((T,), chunk=4)),
    "encode, rows inside frames": Case("encode", Plan((T, H), chunk=4, strip=8)),
    "encode, frames, in a file": Case("encode", Plan((T,), chunk=4, keep="file")),
    "encode, budget": Case("encode", memory="64MiB"),
    "decode, frames": Case("decode", Plan((T,), chunk=2)),
    "decode, rows inside frames": Case("decode", Plan((T, H), chunk=2, strip=2)),
    "decode, rows inside frames, in a file": Case("decode", Plan((T, H), chunk=2, strip=2, keep="file")),
    "decode, budget": Case("decode", memory="18MiB"),
}


def load() -> vl.Autoencoder:
    return vl.build("vidlatent-tiny", encoder_widths=(12, 16), decoder_widths=(12, 16))


def whole_input(ae: vl.Autoencoder, case: Case) -> Tensor:
    channels, size = (3, SIZE) if case.direction == "encode" else (16, ae.latent_spec.latent_size(*SIZE))
    return torch.rand(1, channels, sum(CUTS), *size, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Job:
    """One case's stream, as far as it was saved last."""

    def __init__(self, ae: vl.Autoencoder, name: str, folder: Path) -> None:
        case, self.file = CASES[name], folder / f"{name}.pt"
        self.slabs = whole_input(ae, case).split(CUTS, 2)
        encodes = case.direction == "encode"
        options = {"plan": case.plan, "memory": case.memory}
        self.stream = ae.stream_encoder(**options) if encodes else ae.stream_decoder(**options, size=SIZE)
        self.pieces: list[Tensor] = []
        self.num_done = 0
        if self.file.exists():
            saved = torch.load(self.file, weights_only=True)
            self.pieces, self.num_done = [saved["answer"]], saved["num_done"]
            self.stream.load_state_dict(saved["stream"])

    @property
    def finished(self) -> bool:
        return self.num_done > len(self.slabs)

    def step(self) -> None:
        """Push the next slab, or finish after the last, and save."""
        ends = self.num_done == len(self.slabs)
        self.pieces.append(self.stream.finish() if ends else self.stream.push(self.slabs[self.num_done]))
        self.num_done += 1
        answer = torch.cat([piece for piece in self.pieces if piece.numel()] or self.pieces[-1:], 2)
        part = self.file.with_suffix(".part")
        torch.save({"answer": answer, "num_done": self.num_done, "stream": self.stream.state_dict()}, part)
        os.replace(part, self.file)


def run(folder: Path, note: Callable[[str], None]) -> None:
    """Everything that is left to do; `note` is called after each save."""
    torch.set_num_threads(1)
    ae = load()
    jobs = [job for job in (Job(ae, name, folder) for name in CASES) if not job.finished]
    while jobs:
        for job in jobs:
            job.step()
            note(job.file.stem)
        jobs = [job for job in jobs if not job.finished]
