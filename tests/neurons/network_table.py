"""The table of docs/networks.md: what tracing finds in each network of `families`. tools/network_table.py writes it."""

from __future__ import annotations

from .families import NETWORKS, Examined, examine, left_by_planting

BEGIN, END = "<!-- table: tools/network_table.py -->", "<!-- end of table -->"


def with_table(page: str) -> str:
    """The page with its table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def table() -> str:
    lines = [
        "| network | of | weight parameters | covered | layers | heads | streams | skipped | compressed |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for name, network in NETWORKS.items():
        lines.append(f"| {name} | {network.library} | {' | '.join(_cells(examine(name)))} |")
    return "\n".join(lines) + "\n"


def _cells(of: Examined) -> list[str]:
    weights = sum(p.numel() for p in of.model.parameters() if p.ndim > 1)
    coverage = f"{100 * of.neurons.coverage(of.model):.1f} %"
    kinds = [layer.name.rpartition(".")[2].partition("-")[0] for layer in of.neurons.layers]
    layers = [str(len(kinds)), *(str(kinds.count(kind) or "") for kind in ("heads", "stream"))]
    return [f"{weights:,}", coverage, *layers, _skipped(of), _compressed(of)]


def _skipped(of: Examined) -> str:
    """Parameters by reason."""
    by_reason: dict[str, list[str]] = {}
    for one in of.neurons.skipped:
        by_reason.setdefault(one.reason, []).append(f"`{one.what}`")
    said = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        said.append(f"{', '.join(names[:2])}{more}: {reason}")
    return "; ".join(said) or "nothing"


def _compressed(of: Examined) -> str:
    """How many of its layers lose all that is planted in them."""
    kept = of.compression.layers["neurons_after"]
    whole = [n == left_by_planting(layer) for layer, n in zip(of.neurons.layers, kept, strict=True)]
    return "all layers" if all(whole) else f"{sum(whole)} of {len(whole)} layers"
