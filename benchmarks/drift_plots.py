"""What `drift.py` found, as a table and as plots."""

from __future__ import annotations

from html import escape

Summary = dict[str, dict[str, dict[str, tuple[float, float, float]]]]
COLUMNS = ("drift", "brightness", "hue", "radius", "residual", "inertia", "bounce", "energy", "count", "motion")
_COLOURS = ("#666666", "#0072b2", "#d55e00", "#cc79a7", "#009e73")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 320, 60, 120, 36, 44


def table(summary: Summary) -> str:
    """Markdown: one line for each method and length, mean and interval in each cell."""
    lines = ["| method | length | " + " | ".join(COLUMNS) + " |", "|" + "---|" * (len(COLUMNS) + 2)]
    for method, by_length in summary.items():
        for length, found in by_length.items():
            cells = [_cell(found[name]) for name in COLUMNS]
            lines.append(f"| {method} | {length}x | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: tuple[float, float, float]) -> str:
    mean, low, high = values
    return "-" if mean != mean else f"{mean:.3g} ({low:.2g}-{high:.2g})"


def plot(summary: Summary, measure: str) -> str:
    """An SVG of one measure over the clip's length: a line for each method, bars for its intervals."""
    lengths = [int(length) for length in next(iter(summary.values()))]
    highest = [found[measure][2] for by_length in summary.values() for found in by_length.values()]
    top = 1.08 * max((value for value in highest if value == value), default=1.0) or 1.0
    inner = _WIDTH - _LEFT - _RIGHT

    def x(index: int) -> float:
        return _LEFT + inner * (index + 0.5) / len(lengths)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(measure)} by clip length (mean, 95% interval)</text>',
    ]
    for tick in range(5):
        value = top * tick / 4
        level = f"{y(value):.1f}"
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{level}" y2="{level}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{level}" dy="4" text-anchor="end">{value:.3g}</text>')
    for index, length in enumerate(lengths):
        parts.append(f'<text x="{x(index):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{length}x</text>')
    for row, (method, by_length) in enumerate(summary.items()):
        colour, shift = _COLOURS[row % len(_COLOURS)], 7 * (row - (len(summary) - 1) / 2)
        points = [(x(i) + shift, by_length[str(length)][measure]) for i, length in enumerate(lengths)]
        points = [(at, values) for at, values in points if values[0] == values[0]]
        line = " ".join(f"{at:.1f},{y(values[0]):.1f}" for at, values in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for at, (mean, low, high) in points:
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(mean):.1f}" r="3.5" fill="{colour}"/>')
        label = _TOP + 10 + 18 * row
        parts.append(f'<text x="{_WIDTH - _RIGHT + 14}" y="{label}" fill="{colour}">{escape(method)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
