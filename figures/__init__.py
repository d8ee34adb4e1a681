"""The figures by name. Each is a module with `load(...) -> results`, and `draw(results) -> Figure`, which is pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import find_runs, runs_root

from . import collapse, style

OF_RUNS = {"collapse": collapse}
"""Figures drawn from the runs that the user names."""


def draw_named(arguments: Sequence[str], out: Path | None = None) -> list[Path]:
    """Draw the figures that the first of `arguments` name, from the runs that the others name.

    Writes PNG and PDF into `out`, default ``$SC_RUNS/figures``, and returns their paths. Raises `InputError` for an
    unknown figure, and where a figure has no runs to draw.
    """
    names = [name for k, name in enumerate(arguments) if name in OF_RUNS and set(arguments[:k]) <= set(OF_RUNS)]
    paths = arguments[len(names) :]
    if not names:
        raise InputError(f"{arguments[0]}: no such figure; there are: {', '.join(OF_RUNS)}")
    if not paths:
        raise InputError(f"figure {names[0]}: name the runs to draw, such as: sc figures {names[0]} runs/digits-mlp-*")
    runs = find_runs(paths)
    written = []
    for name in names:
        with style.paper():
            figure = OF_RUNS[name].draw(OF_RUNS[name].load(runs))
            written += style.save(figure, (out or runs_root() / "figures") / name)
    return written
