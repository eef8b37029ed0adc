"""How far float32 is from float64, ours and diffusers', at the same weights and the same input.

    python benchmarks/float64.py [--family wan-2.1 ...] [--direction decode] [--published] [--threads 1] [--json]

Narrow models as `families.py` has them, on the same clips; with `--published` of the published width, on small ones
(`PUBLISHED`), with weights that keep activations near one and leave no norm or bias as it begins, as the parity tests
have them. Four largest differences, each over the largest value: ours in float32 to diffusers' in float32, each of them
to ours in float64, and diffusers in float64 to that as well, which tells that both define the same. Where diffusers
rounds to float32 whatever it is given it is kept from that; decoded video is clamped only where diffusers clamps it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import diffusers
import torch
from families import CASES, PLAIN, TILED, Case, prepare, theirs
from torch import Tensor

import vidlatent as vl
from vidlatent.testing import relative_error

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from family_checks import randomise

PUBLISHED = {
    "wan-2.1": (17, 32, 32),
    "wan-2.2": (5, 32, 32),
    "qwen-image": (5, 32, 32),
    "hunyuan-video": (5, 16, 24),
    "hunyuan-video-1.5": (5, 32, 32),
    "cogvideox-2b": (9, 16, 16),
    "easyanimate-5": (5, 32, 32),
    "cosmos-1.0": (9, 32, 48),
    "vidtok-kl-488-4": (5, 16, 24),
    "svd": (2, 24, 32),
    "sd": (2, 32, 48),
}
CLAMPED = ("wan-2.1", "wan-2.2", "qwen-image")
DIRECTIONS = ("encode", "decode")


@contextmanager
def kept_in_double() -> Iterator[None]:
    """Nothing in float64 is rounded to float32 on its way."""
    convert, shorten = Tensor.to, Tensor.float

    def to(self: Tensor, *args: object, **options: object) -> Tensor:
        rounds = self.dtype == torch.double and torch.float32 in (*args, *options.values())
        return self if rounds else convert(self, *args, **options)

    with (
        patch.object(Tensor, "to", to),
        patch.object(Tensor, "float", lambda x: x if x.dtype == torch.double else shorten(x)),
    ):
        yield


@torch.no_grad()
def ours(name: str, direction: str, folder: str, x: Tensor) -> Tensor:
    ae = vl.load(Path(folder, "model"), dtype=x.dtype)
    if direction == "encode":
        return ae.encode(x).mean
    video = ae.decoder(ae.prepare(x))
    return video.clamp(-1, 1) if name in CLAMPED else video


def measure(name: str, case: Case, direction: str, *, published: bool) -> dict[str, float]:
    """The four differences."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        prepare(name, case, direction, folder, randomise if published else None)
        x = torch.load(Path(folder, "input.pt"))
        way = TILED if name == "allegro" else PLAIN
        single = {"ours": ours(name, direction, folder, x), "theirs": theirs(name, way, direction, folder, x)()}
        exact = ours(name, direction, folder, x.double())
        with kept_in_double():
            same = theirs(name, way, direction, folder, x.double())()
    return {
        "ours_to_theirs": relative_error(single["ours"], single["theirs"]),
        "ours_to_float64": relative_error(single["ours"].double(), exact),
        "theirs_to_float64": relative_error(single["theirs"].double(), exact),
        "theirs_in_float64": relative_error(same, exact),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=CASES, action="append", help="only this one")
    parser.add_argument("--direction", choices=DIRECTIONS, action="append", help="only this one")
    parser.add_argument("--published", action="store_true", help="the published width, on small clips")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    diffusers.utils.logging.set_verbosity_error()  # it warns of models cast to float64, which is what is wanted
    cases = {name: replace(CASES[name], overrides={}, clip=clip) for name, clip in PUBLISHED.items()}
    cases = cases if args.published else CASES
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name in args.family or cases:
        for direction in args.direction or DIRECTIONS:
            row = measure(name, cases[name], direction, published=args.published)
            table.setdefault(name, {})[direction] = row
            if not args.json:
                print(name, direction, *(f"{key} {value:.1e}" for key, value in row.items()), flush=True)
    print(json.dumps({"benchmark": "float64", "published": args.published, "families": table}))


if __name__ == "__main__":
    main()
