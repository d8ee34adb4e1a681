#!/usr/bin/env python3
"""Write the tables of speeds in README and docs from the records in benchmarks/results/.

    python tools/docs/speeds.py

A table stands between `<!-- speeds: NAME -->` and `<!-- end of speeds -->`; `TABLES` says what is in each. `make bench`
ends with this; a test fails where a table is not what this makes of the records.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Figures of one machine."""

    machine: str
    """How the names of its files begin."""
    names: Sequence[str] = (".*",)
    """Regular expressions of the figures' names, in the order of the rows."""


CPU, GPU = "amd-epyc-2-cores", "h100-80gb-hbm3"
TABLES = {
    "cpu": Table(
        CPU,
        (
            "training/digits-mlp",
            "replicates/8",
            "collapse/conv8",
            "toys/single-neuron/julia-tabulated",
            "toys/students/julia",
        ),
    ),
    "gpu": Table(GPU, ("training/[^/]*/compiled", "figure2/kernel", "collapse/vgg16/cuda", "run/.*/accuracy")),
    "cpu-all": Table(CPU),
    "gpu-all": Table(GPU),
}

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_PLACE = re.compile(r"(?<=<!-- speeds: )([\w-]+)( -->\n).*?(?=<!-- end of speeds -->)", re.DOTALL)


def records_of(machine: str) -> list[Record]:
    """The newest record of each figure, in the order of their names."""
    newest: dict[str, Record] = {}
    for path in sorted(RESULTS.glob(f"{machine}-????-??-??.json")):
        for record in json.loads(path.read_text()):
            newest[record["name"]] = {**record, "date": path.stem[-10:]}
    return [newest[name] for name in sorted(newest)]


def number(value: float) -> str:
    """Three digits, more before the point where there are more."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def quantity(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


def row(record: Record) -> str:
    low, high = record["spread"]
    ours = quantity(record["value"], record["unit"])
    spread = f" ({number(low)}–{number(high)}, n = {record['n']})" if record["n"] > 1 else " (n = 1)"
    beside, ratio = record["alternative"], record["ratio"]
    beside = f"{beside}: {quantity(record['alternative_value'], record['unit'])}" if beside is not None else ""
    return f"| {record['what']} | {ours}{spread} | {beside} | {number(ratio) if ratio is not None else ''} |"


def table(name: str) -> str:
    """The table's Markdown: a sentence about the machine, then the rows."""
    wanted = TABLES[name]
    records = records_of(wanted.machine)
    chosen = {
        record["name"]: record
        for pattern in wanted.names
        for record in records
        if re.fullmatch(pattern, record["name"])
    }
    if not chosen:
        raise SystemExit(f"speeds: no record of {wanted.machine} in {RESULTS} for the table {name}")
    rows = ["| what | ours (spread) | beside it | ratio |", "| --- | --- | --- | --- |", *map(row, chosen.values())]
    return "\n".join([about(list(chosen.values())), "", *rows, ""])


def about(records: Sequence[Record]) -> str:
    """On which machine, with which versions, when."""
    machine, versions = records[-1]["machine"], records[-1]["versions"]
    cores = f"{machine['cores']} cores of {machine['processor']}"
    where = cores if machine["gpu"] == "none" else f"{machine['gpu']}, {cores}"
    dates = sorted({record["date"] for record in records})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    with_ = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{where}; {with_}; {when}:"


def filled(page: str) -> str:
    """The page with its tables made anew."""
    return _PLACE.sub(lambda place: f"{place[1]}{place[2]}{table(place[1])}", page)


def main() -> None:
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        if (fresh := filled(page)) != page:
            path.write_text(fresh, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: tables of speeds written")


if __name__ == "__main__":
    main()
