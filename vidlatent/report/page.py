"""A page about one clip that needs no network and no server: figures, a curve over time, stills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from vidlatent.report.stills import Stills, data_url

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --page: #fbfbfa; --faint: #6d7278; --line: #dcdedf; --mark: #0b6bcb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e9; --page: #17191b; --faint: #9aa0a6; --line: #33373b; --mark: #6cb4ff; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 1rem; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; } td { padding: .15rem 1.5rem .15rem 0; vertical-align: top; }
td:first-child { color: var(--faint); white-space: nowrap; } td { overflow-wrap: anywhere; }
img, video, svg { width: 100%; height: auto; display: block; }
figure { margin: 0 0 .75rem; } figcaption, svg text { color: var(--faint); fill: var(--faint); font-size: .8rem; }
svg line { stroke: var(--line); } svg polyline { stroke: var(--mark); fill: none; stroke-width: 1.5; }
"""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1000, 220, 48, 24
_MAX_POINTS = 800


def clip_page(
    title: str, rows: Mapping[str, str], *, frame_psnr: Sequence[float], stills: Stills, video: str, captions: str
) -> str:
    """The HTML of a clip's report.

    `rows` are names and figures, `frame_psnr` decibels frame by frame, `video` the relative name of the side-by-side
    video, and `captions` what its panels and those of the stills are.
    """
    figures = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items())
    pictures = "".join(
        f'<figure><img src="{data_url(jpeg)}" alt="frame {index}"><figcaption>frame {index}</figcaption></figure>'
        for index, jpeg in stills.chosen()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<table>{figures}</table>
<h2>PSNR of each frame, dB</h2>
{_curve(frame_psnr)}
<h2>{escape(captions)}</h2>
<video src="{escape(video)}" controls muted loop playsinline></video>
<h2>Stills</h2>
{pictures}
</body></html>
"""


def _curve(values: Sequence[float]) -> str:
    """Values over frame numbers as an SVG line; of long clips, means over equal runs of frames."""
    run = -(-len(values) // _MAX_POINTS)
    means = [sum(part) / len(part) for part in (values[i : i + run] for i in range(0, len(values), run))]
    low, high = min(means), max(means)
    margin = max((high - low) * 0.1, 0.5)
    low, high = low - margin, high + margin

    def place(index: int, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT) * (index / max(len(means) - 1, 1))
        return x, (_HEIGHT - _BOTTOM) * (high - value) / (high - low)

    points = " ".join("{:.1f},{:.1f}".format(*place(index, value)) for index, value in enumerate(means))
    lines = ""
    for value in (low + (high - low) * part for part in (0.1, 0.5, 0.9)):
        y = place(0, value)[1]
        lines += f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        lines += f'<text x="0" y="{y + 4:.1f}">{value:.1f}</text>'
    lines += f'<text x="{_LEFT}" y="{_HEIGHT - 4}">frame 0</text>'
    lines += f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">frame {len(values) - 1}</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{lines}<polyline points="{points}"/></svg>'
