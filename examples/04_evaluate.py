"""A model beside the codes that need no training: numbers under one protocol, and a page to look at.

    python examples/04_evaluate.py [SOURCE] [OUT]

The same from the shell: vidlatent evaluate SOURCE -m vidlatent-tiny --baselines h264,bicubic -o OUT
"""

import sys
import tempfile
from pathlib import Path

import torch

import vidlatent as vl
from vidlatent.evaluate import Settings, evaluate
from vidlatent.report import write_evaluation_page


def main(source: Path, out: Path) -> None:
    # Metrics are functions of clips in [-1, 1] ...
    want = torch.rand(1, 3, 8, 64, 64) * 2 - 1
    got = (want + 0.05 * torch.randn_like(want)).clamp(-1, 1)
    print(f"PSNR {vl.metrics.psnr(got, want):.2f} dB, flicker {vl.metrics.flicker(got, want):.2f} levels")

    # ... and accumulators that take slabs, in any order, and merge: here two workers, the second half first.
    workers = [vl.metrics.Flicker(), vl.metrics.Flicker()]
    workers[0].update(got[:, :, 4:], want[:, :, 4:], clip="a", start=4)
    workers[1].update(got[:, :, :4], want[:, :, :4], clip="a", start=0)
    print(f"in two pieces {workers[0].merge(workers[1]).compute():.2f} levels")

    # One call measures everything. Run it again and nothing is done twice; kill it and it goes on where it was.
    done = evaluate(
        source, ["vidlatent-tiny"], out, baselines=["h264", "bicubic"], frames=9, size=(96, 96), settings=Settings()
    )
    for record in done.summary["candidates"]:
        name, psnr, bits = record["candidate"], record["psnr"], record["rate_bits_per_pixel"]
        print(f"{name:>15}: {psnr:.2f} dB; {record['rate_psnr']:.2f} dB at {bits:.3f} bits per pixel")
    print("protocol", done.summary["protocol_hash"])
    print(write_evaluation_page(out / "report.html", done.summary, done.rows, media=out / "media"))


if __name__ == "__main__":
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "bay.mp4"
    if len(sys.argv) > 2:
        main(clip, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(clip, Path(folder))
