"""The page of an evaluation: ranking, plots, every clip to look at, worst frames, curves and spectra."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from vidlatent.report.columns import COLUMNS, Column, better_of, columns_of
from vidlatent.report.page import PLAYER, page, write_page

Row = dict[str, Any]
_ERROR_GAIN = 5
_CURVES = ("group_psnr", "spectrum", "spectrum_of_original", "latent_spectrum", "latent_eigenvalues")
_SCALARS = ("psnr", "rate_bits_per_pixel", "rate_psnr", "encode_fps", "decode_fps")


def write_evaluation_page(path: Path, summary: dict[str, Any], rows: Sequence[Row], *, media: Path) -> Path:
    """Write the page of `evaluate`'s summary and rows; `media` holds the videos and stills by the rows' keys."""
    found = {f"{row['key']}.{kind}": media / f"{row['key']}.{kind}" for row in rows for kind in ("mp4", "jpg")}
    found = {key: file for key, file in found.items() if file.is_file()}
    records = summary["candidates"]
    names = [record["candidate"] for record in records]
    clips = [clip for clip, _ in summary["protocol"]["clips"]]
    by_place = {(row["clip"], row["candidate"]): row for row in rows}
    data = {
        "candidates": [_candidate(record) for record in records],
        "rows": [_row(row, names, clips, found) for row in rows if row["status"] == "ok"],
        "clips": clips,
        "gain": _ERROR_GAIN,
    }
    failed = [row for row in rows if row["status"] != "ok"]
    body = "\n".join(
        (
            _header(summary),
            f"<main>{_section('ranking', 'Ranking', _ranking(summary), _ranking_note(summary))}",
            _section("plots", "Rate and speed", _charts("rate", "speed"), _RATE_NOTE),
            _section("clips", "Clips", _matrix(clips, names, by_place) + (PLAYER if found else ""), _CLIPS_NOTE),
            _section("worst", "Worst frames", '<div class="gallery" id="worst-gallery"></div>', _WORST_NOTE)
            if found
            else "",
            _section("spectra", "Curves and spectra", _charts("group", "spectrum", "latent", "eigen"), ""),
            _section("failed", "Not measured", _failures(failed), "") if failed else "",
            _section("protocol", "Protocol", _protocol(summary), "") + "</main>",
        )
    )
    return write_page(path, page("Autoencoders side by side", body, data, found))


_RATE_NOTE = "Latents count as entropy-coded 8-bit numbers and are decoded from these; codecs count as files."
_CLIPS_NOTE = "PSNR in dB. Choose a figure to see that clip through that candidate."
_WORST_NOTE = "Original, reconstruction and amplified error, three clips for each candidate. Choose one to see it move."


def _candidate(record: Row) -> Row:
    return {name: record[name] for name in ("candidate", "kind", *_SCALARS, *_CURVES) if record.get(name) is not None}


def _row(row: Row, names: list[str], clips: list[str], media: dict[str, Path]) -> Row:
    kept = {name: row[name] for name in (*_SCALARS, "frame_psnr", "worst_frame", "height", "width") if name in row}
    present = {kind: f"{row['key']}.{kind}" for kind in ("mp4", "jpg") if f"{row['key']}.{kind}" in media}
    place = {"candidate": names.index(row["candidate"]), "clip": clips.index(row["clip"])}
    panel = {"width": row["width"] // 2 * 2, "height": row["height"] // 2 * 2, "top": 0, "gap": 0}
    return {**kept, **present, **place, "panel": panel}


def _header(summary: dict[str, Any]) -> str:
    protocol, done = summary["protocol"], summary["clips_averaged"]
    size = "{1}&times;{0}".format(*protocol["size"]) if protocol["size"] else "each clip's own size"
    facts = f"{len(done)} of {len(protocol['clips'])} clips, {protocol['frames']} frames of {size}"
    return f"""<header><div><h1>Autoencoders side by side</h1>
<p class="facts">{facts} <span class="dot">&middot;</span> protocol <code>{summary["protocol_hash"]}</code></p></div>
<button id="theme" type="button" aria-label="Switch between light and dark">Light / dark</button></header>
<nav aria-label="Sections"><a href="#ranking">Ranking</a><a href="#plots">Plots</a><a href="#clips">Clips</a>
<a href="#worst">Worst frames</a><a href="#spectra">Spectra</a><a href="#protocol">Protocol</a></nav>"""


def _section(name: str, title: str, content: str, note: str) -> str:
    shown = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{name}"><h2>{title}</h2>{shown}{content}</section>'


def _charts(*names: str) -> str:
    return '<div class="charts">' + "".join(f'<div class="chart" id="chart-{name}"></div>' for name in names) + "</div>"


def _ranking_note(summary: dict[str, Any]) -> str:
    done, everything = len(summary["clips_averaged"]), len(summary["protocol"]["clips"])
    which = "all clips" if done == everything else f"the {done} clips that every candidate managed"
    return f"Means over {which}. Choose a heading to sort; the best of each column is bold."


def _ranking(summary: dict[str, Any]) -> str:
    columns, records = columns_of(summary), summary["candidates"]
    best = {column.key: better_of(column, [record.get(column.key) for record in records]) for column in columns}
    head = '<th scope="col" aria-sort="none"><button type="button" data-first="ascending">Candidate</button></th>'
    head += "".join(_heading(column) for column in columns)
    body = ""
    for index, record in enumerate(records):
        cells = "".join(_cell(column, record.get(column.key), best[column.key]) for column in columns)
        failed = f' <span class="failed">{record["clips_failed"]} failed</span>' if record["clips_failed"] else ""
        name = f'<span class="key k{index % 8}"></span>{escape(record["candidate"])}'
        body += f'<tr><th scope="row" data-value="{escape(record["candidate"])}">{name}{failed}</th>{cells}</tr>'
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Ranking"><table id="ranking-table"><thead>'
        f"<tr>{head}"
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(column: Column) -> str:
    first = "ascending" if column.better == "low" else "descending"
    unit = f' <span class="unit">{column.unit}</span>' if column.unit else ""
    return (
        f'<th scope="col" aria-sort="none"><button type="button" data-first="{first}" title="{escape(column.help)}">'
        f"{column.title}{unit}</button></th>"
    )


def _cell(column: Column, value: float | None, best: float | None) -> str:
    text = column.shown(value)
    if value is None:
        return f"<td>{text}</td>"
    # Equal as shown is equally good.
    bold = best is not None and text == column.shown(best)
    return f'<td data-value="{value:.8g}">{f"<b>{text}</b>" if bold else text}</td>'


def _matrix(clips: Sequence[str], names: Sequence[str], rows: dict[tuple[str, str], Row]) -> str:
    head = "".join(
        f'<th scope="col"><span class="key k{index % 8}"></span>{escape(name)}</th>' for index, name in enumerate(names)
    )
    body = ""
    for i, clip in enumerate(clips):
        figures = [rows.get((clip, name), {}).get("psnr") for name in names]
        best = better_of(COLUMNS[0], figures)
        cells = ""
        for j, (name, figure) in enumerate(zip(names, figures, strict=True)):
            if figure is None:
                reason = rows.get((clip, name), {}).get("reason", "not run")
                cells += f'<td><span class="failed" title="{escape(reason)}">failed</span></td>'
                continue
            shown = COLUMNS[0].shown(figure)
            mark = f"<b>{shown}</b>" if best is not None and shown == COLUMNS[0].shown(best) else shown
            cells += f'<td><button type="button" data-clip="{i}" data-candidate="{j}">{mark}</button></td>'
        body += f'<tr><th scope="row">{escape(clip)}</th>{cells}</tr>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="PSNR of each clip"><table id="clip-table"><thead>'
        f'<tr><th scope="col">Clip</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _failures(rows: Sequence[Row]) -> str:
    items = "".join(
        f"<li><b>{escape(row['candidate'])}</b> on <b>{escape(row['clip'])}</b>: {escape(row['reason'])}</li>"
        for row in rows
    )
    return f"<ul>{items}</ul>"


def _protocol(summary: dict[str, Any]) -> str:
    protocol = summary["protocol"]
    pairs = {
        "protocol": summary["protocol_hash"],
        "with these weights": summary["results_hash"],
        "frames": protocol["frames"],
        "size": "{} rows, {} columns".format(*protocol["size"]) if protocol["size"] else "each clip's own",
        "rate": f"{protocol['fps']} frames per second" if protocol["fps"] else "each clip's own",
        "resizing": protocol["resize"],
        "perceptual distance": protocol["perceptual"],
        "features": protocol["features"] or "none",
        "vidlatent": summary["vidlatent"],
    }
    pairs |= {record["candidate"]: record["fingerprint"] for record in summary["candidates"]}
    pairs |= {f"metric {name}": text for name, text in protocol["metrics"].items()}
    pairs |= {clip: f"sha256 {digest[:16]}" for clip, digest in protocol["clips"]}
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs.items())
    return (
        f"<details><summary>What a number has to agree on to be compared with these</summary><dl>{rows}</dl></details>"
    )
