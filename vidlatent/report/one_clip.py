"""The page of one clip through one model: figures, the player, the curve over time, stills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vidlatent.report.page import PLAYER, page
from vidlatent.report.panels import Panels
from vidlatent.report.stills import Stills, data_url

_LARGEST_EMBEDDED = 64 * 2**20
_MAX_POINTS = 2000


def clip_page(
    title: str,
    rows: Mapping[str, str],
    *,
    frame_psnr: Sequence[float],
    stills: Stills,
    video: Path,
    panels: Panels,
) -> str:
    """The HTML of a clip's report.

    `rows` are names and figures, `frame_psnr` decibels frame by frame, `video` the side-by-side video that `panels`
    composed: it is embedded, or from 64 MiB on referred to by its name.
    """
    embed = video.stat().st_size <= _LARGEST_EMBEDDED
    run = -(-len(frame_psnr) // _MAX_POINTS)
    means = [sum(part) / len(part) for part in (frame_psnr[i : i + run] for i in range(0, len(frame_psnr), run))]
    row = {
        "clip": 0,
        "candidate": 0,
        "frame_psnr": means,
        "frames": len(frame_psnr),
        "frames_per_point": run,
        "worst_frame": min(range(len(frame_psnr)), key=frame_psnr.__getitem__),
        "panel": panels.layout,
        **({"mp4": video.name} if embed else {"src": video.name}),
    }
    data = {"candidates": [{"candidate": panels.captions[1]}], "clips": [title], "rows": [row], "gain": panels.gain}
    figures = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    pictures = "".join(
        f'<figure><img src="{data_url(jpeg)}" alt="frame {index}"><figcaption>frame {index}</figcaption></figure>'
        for index, jpeg in stills.chosen()
    )
    body = f"""<header><div><h1>{escape(title)}</h1></div>
<button id="theme" type="button" aria-label="Switch between light and dark">Light / dark</button></header>
<main><section id="figures"><h2>Figures</h2><dl class="plain">{figures}</dl></section>
<section id="clips"><h2>{escape(", ".join(panels.captions))}</h2>{PLAYER}</section>
<section id="stills"><h2>Stills</h2><div class="gallery">{pictures}</div></section></main>"""
    return page(title, body, data, {video.name: video} if embed else {})
