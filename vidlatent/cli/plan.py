"""`vidlatent plan`: what a memory budget means, before any video is at hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from vidlatent.cli.options import AsJson, Debug, memory_budget, video_shape
from vidlatent.cli.terminal import terminal


def plan(
    model: Annotated[
        str, typer.Argument(help="Name (see: vidlatent models), folder or checkpoint file.", metavar="MODEL")
    ],
    video: Annotated[
        Any, typer.Option("--video", parser=video_shape, metavar="TxHxW", help="Frames x rows x columns, 81x480x832.")
    ],
    memory: Annotated[
        Any, typer.Option("--memory", parser=memory_budget, metavar="BYTES", help="Budget such as 6GiB or 500MB.")
    ],
    direction: Annotated[Literal["encode", "decode"], typer.Option("--direction", help="Which half.")] = "encode",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show how a video is cut to stay within a budget, and the peak that is predicted."""
    terminal.configure(as_json=as_json, debug=debug)
    import vidlatent
    from vidlatent.cli.describe import human_bytes, model_record, two_columns
    from vidlatent.cli.loading import preset_without_weights
    from vidlatent.streaming.planner import parse_bytes

    frames, height, width = video
    ae = preset_without_weights(model) if model in vidlatent.models() else vidlatent.load(model)
    cut = vidlatent.plan(ae, frames=frames, height=height, width=width, memory=memory, direction=direction)
    of = "pixels" if direction == "encode" else "latents"
    rows = {
        "model": f"{model}, {model_record(ae, model)['parameters'] / 1e6:.1f} M parameters",
        "video": f"{frames} frames of {width}x{height}, {direction}",
        "plan": f"{str(cut).split(', predicted')[0]}{f' of {of}' if cut.axes else ''}",
        "predicted peak": f"{human_bytes(cut.peak_bytes)} of {human_bytes(parse_bytes(memory))}",
        "state between slabs": human_bytes(cut.state_bytes),
    }
    record = {
        "model": model,
        "direction": direction,
        "video": [frames, height, width],
        "memory_bytes": parse_bytes(memory),
    }
    record |= asdict(cut) | {"axes": [{2: "T", 3: "H", 4: "W"}[axis] for axis in cut.axes]}
    terminal.result(record, two_columns(rows))
