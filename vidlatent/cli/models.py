"""`vidlatent models`: the catalogue."""

from __future__ import annotations

from rich.table import Table

from vidlatent.cli.options import AsJson, Debug
from vidlatent.cli.terminal import terminal

_COLUMNS = ("name", "grid", "ratio", "channels", "params", "exactness", "weights", "licence")
_NUMBERS = ("ratio", "channels", "params")


def models(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the models by family: compression, channels, parameters, exactness, licence, where they come from."""
    terminal.configure(as_json=as_json, debug=debug)
    import vidlatent
    from vidlatent.autoencoders.catalog import CATALOG
    from vidlatent.autoencoders.homes import HOMES
    from vidlatent.cli.describe import model_record
    from vidlatent.cli.loading import packaged_weights, preset_without_weights

    records = []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=title != "licence")
    for name in vidlatent.models():
        ae, entry = preset_without_weights(name), CATALOG[name]
        packaged = packaged_weights(name)
        record = model_record(ae, name) | {
            "exactness": ae.exactness,
            "packaged": packaged,
            "licence": entry.licence,
            "upstream": HOMES.get(entry.family),
        }
        records.append(record)
        table.add_row(
            name,
            "x".join(map(str, record["stride"])),
            f"{record['value_compression']:g}x",
            str(record["channels"]),
            f"{record['parameters'] / 1e6:.1f} M",
            record["exactness"],
            "included" if packaged else "separate",
            entry.licence,
        )
    terminal.result({"models": records}, table, "", _sources(HOMES, [CATALOG[name].family for name in CATALOG]))


def _sources(homes: dict[str, str], families: list[str]) -> Table:
    """Where each family comes from."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("family", no_wrap=True)
    table.add_column("upstream", no_wrap=True)
    for family in dict.fromkeys(families):
        table.add_row(family, homes.get(family, "vidlatent itself"))
    return table
