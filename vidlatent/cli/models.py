"""`vidlatent models`: the catalogue."""

from __future__ import annotations

from rich.table import Table

from vidlatent.cli.options import AsJson, Debug
from vidlatent.cli.terminal import terminal


def models(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the models: compression, channels, parameters, exactness, licence."""
    terminal.configure(as_json=as_json, debug=debug)
    import vidlatent
    from vidlatent.autoencoders.catalog import CATALOG
    from vidlatent.cli.describe import model_record
    from vidlatent.cli.loading import packaged_weights, preset_without_weights

    records = []
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("name", "grid", "ratio", "channels", "params", "exactness", "weights", "licence"):
        table.add_column(title, justify="right" if title in ("ratio", "channels", "params") else "left")
    for name in vidlatent.models():
        ae = preset_without_weights(name)
        packaged = packaged_weights(name)
        licence = CATALOG[name].licence
        record = model_record(ae, name) | {"exactness": ae.exactness, "packaged": packaged, "licence": licence}
        records.append(record)
        table.add_row(
            name,
            "x".join(map(str, record["stride"])),
            f"{record['value_compression']:g}x",
            str(record["channels"]),
            f"{record['parameters'] / 1e6:.1f} M",
            record["exactness"],
            "included" if packaged else "separate",
            licence,
        )
    terminal.result({"models": records}, table)
