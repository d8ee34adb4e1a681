"""Measured speeds as data: what was measured, on which machine, with which versions, beside which alternative.

A benchmark makes a `Figure` of each result and adds it to `Results`, which prints it and, where there is a folder,
writes it at once to <folder>/<machine>-<date>.json: a list of objects with the fields of `Figure`, `machine` and
`versions`. A figure measured again on the same day replaces the older one. tools/docs/speeds.py makes the tables of the
documentation from these files.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stochastic_collapse.runs import write_atomically

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured number, beside that of an alternative in the same run."""

    name: str
    """Of the benchmark, the case and what of it, such as training/vgg16."""
    what: str
    """In words, with sizes."""
    value: float
    unit: str
    n: int
    """Of how many measurements `value` is the median."""
    spread: tuple[float, float]
    """The smallest and the largest of them."""
    alternative: str | None = None
    """What `ratio` compares with, in words."""
    alternative_value: float | None = None
    """In the same unit."""
    ratio: float | None = None
    """How many times faster than the alternative."""

    @classmethod
    def of(cls, name: str, what: str, values: Sequence[float], unit: str, **alternative: Any) -> Figure:
        """The median of `values`."""
        return cls(name, what, statistics.median(values), unit, len(values), (min(values), max(values)), **alternative)

    def line(self) -> str:
        """For people."""
        low, high = self.spread
        value = f"{self.value:.4g} {self.unit} ({low:.4g}–{high:.4g}, n = {self.n})"
        beside = "" if self.ratio is None else f", {self.ratio:.3g} × {self.alternative} ({self.alternative_value:.4g})"
        return f"{self.name}: {value}{beside}; {self.what}"


class Results:
    """The figures of one run of a benchmark."""

    def __init__(self, folder: Path | None = None) -> None:
        self._machine, self._versions = machine(), versions()
        self._folder = folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SystemExit(f"--out {folder}: {error.strerror}; choose another folder") from None

    def add(self, figure: Figure) -> None:
        """Print a figure and write it."""
        print(figure.line(), flush=True)
        if self._folder is None:
            return
        path = self._folder / f"{slug(self._machine)}-{datetime.date.today()}.json"
        kept = [record for record in load(path) if record["name"] != figure.name] if path.exists() else []
        fresh = {**asdict(figure), "machine": self._machine, "versions": self._versions}
        text = json.dumps(sorted([*kept, fresh], key=lambda record: record["name"]), indent=1, ensure_ascii=False)
        with write_atomically(path) as temporary:
            temporary.write_text(f"{text}\n")


def load(path: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    records: list[dict[str, Any]] = json.loads(path.read_text())
    return records


def machine() -> dict[str, str | int]:
    """Processor, cores, threads of PyTorch, GPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def versions() -> dict[str, str]:
    """Of what speed depends on."""
    known = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("numpy", "triton"):
        if importlib.util.find_spec(name) is not None:
            known[name] = importlib.metadata.version(name)
    if torch.version.cuda is not None:
        known["cuda"] = torch.version.cuda
    return known


def slug(of: dict[str, str | int]) -> str:
    """A machine's name in file names."""
    name = of["processor"] if of["gpu"] == "none" else of["gpu"]
    words = re.sub(r"\(r\)|\(tm\)|nvidia|processor|\d+-core", " ", str(name).lower())
    return "-".join(re.findall(r"[a-z0-9]+", words)) + ("" if of["gpu"] != "none" else f"-{of['cores']}-cores")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """With the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--out", type=Path, help=f"folder for the records, such as {RESULTS.name}/; without it none")
    return made


def chosen(parser: argparse.ArgumentParser, text: str, known: Sequence[str], option: str = "--case") -> list[str]:
    """The names in a comma-separated list; ends the program where one is not known."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"{option}: unknown {', '.join(unknown)}; there are {', '.join(known)}")
    return names
