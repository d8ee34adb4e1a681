"""The report as a file: the data and what draws them, in one HTML page that needs neither network nor server."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..runs import RunDirectory, runs_root, write_atomically
from ..terminal import work_bar
from ..weights import expand, steps_of
from .data import collect, collect_weights

_HERE = Path(__file__).parent


def write_report(runs: Sequence[RunDirectory], out: Path | None = None, report: Callable[[str], None] = print) -> Path:
    """Write the report on `runs` to `out`, and return where it is.

    Default: report.html in the run's directory, or in `runs_root()` for several. `report` gets the notes on what could
    not be measured. Raises `InputError` where there is no run, and where a file of one is damaged.
    """
    path = out or (runs[0].path if len(runs) == 1 else runs_root()) / "report.html"
    with work_bar() as bar:
        task = bar.add_task("reading checkpoints", total=sum(len(run.checkpoints()) for run in runs), report="")
        data = collect(runs, lambda: bar.advance(task))
    for run in data["runs"]:
        for note in run["notes"]:
            report(f"{run['path']}: {note}")
    write_page(data, path)
    return path


def write_weights_report(
    paths: Sequence[Path],
    model: str | None = None,
    out: Path | None = None,
    report: Callable[[str], None] = print,
    *,
    steps: Sequence[int] | None = None,
    **how: Any,
) -> Path:
    """Write the report on files of weights of one network to `out` (default: report.html here); return where it is.

    See `networks.subject_of` for `model` and `how`, `weights.steps_of` for the step of each file; raises as both do.
    """
    files = steps_of(expand(paths), steps)
    with work_bar() as bar:
        task = bar.add_task("reading weights", total=len(files), report="")
        data = collect_weights(files, model, lambda: bar.advance(task), **how)
    for note in data["runs"][0]["notes"]:
        report(note)
    path = out or Path("report.html")
    write_page(data, path)
    return path


def write_page(data: dict[str, Any], path: Path) -> None:
    """Write what `collect` has collected as one HTML page."""
    with write_atomically(path) as temporary:
        temporary.write_text(page(data), encoding="utf-8")


def page(data: dict[str, Any]) -> str:
    """The HTML of what `collect` has collected."""
    runs = data["runs"]
    names = list(dict.fromkeys(run["name"] for run in runs))
    title = runs[0]["name"] if len(runs) == 1 else f"{', '.join(names)}: {len(runs)} runs"
    # "</script>" in a name must not end the script.
    embedded = json.dumps({**data, "viridis": _viridis()}, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    parts = {
        "title": html.escape(title),
        "lead": _sentence(runs[0], data["tolerance"]) if len(runs) == 1 else _comparison(runs),
        "css": _text("report.css"),
        "data": embedded.replace("<", "\\u003c"),
        "script": _text("charts.js") + _text("report.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("template.html"))


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _viridis() -> str:
    """256 colours of three bytes, in base64."""
    import matplotlib as mpl
    import numpy as np

    colours = mpl.colormaps["viridis"](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(colours).tobytes()).decode("ascii")


def _sentence(run: dict[str, Any], tolerance: float) -> str:
    """The run's result in one sentence, as HTML."""
    summary = run["summary"]
    clauses = []
    if summary["score"] is not None:
        score, median = (_in_words(run, summary[key]) for key in ("score", "median_score"))
        clauses.append(
            f"the test {_NAMES[run['score']]} is <b>{score}</b> (median of the last five evaluations {median})"
        )
    if summary["neurons"]:
        share = summary["independent"] / summary["neurons"]
        clauses.append(f"<b>{share:.0%}</b> of the {summary['neurons']:,} neurons are independent")
    if compression := summary["compression"]:
        gone = 1 - compression["neurons_after"] / compression["neurons_before"]
        clause = f"compression at tolerance {tolerance:g} removes <b>{gone:.0%}</b> of all neurons"
        before, after = compression["score_before"], compression["score_after"]
        if before is not None and after is not None:
            clause += f", which changes the {_NAMES[run['score']]} by <b>{_gained(run, after - before)}</b>"
        clauses.append(clause)
    of = f" of {run['max_steps']:,}" if run["step"] != run["max_steps"] else ""
    start = f"After {run['step']:,}{of} steps"
    if not clauses:
        return f"{start} nothing has been measured yet."
    return f"{start} {', and '.join(filter(None, (', '.join(clauses[:-1]), clauses[-1])))}."


_NAMES = {"accuracy": "accuracy", "r2": "R²"}
"""Of what says how good a network is."""


def _in_words(run: dict[str, Any], score: float) -> str:
    return f"{score:.1%}" if run["score"] == "accuracy" else f"{score:.3f}"


def _gained(run: dict[str, Any], difference: float) -> str:
    """A difference of scores with its sign: −0.3 points of accuracies, +0.012 of others."""
    points, digits = run["score"] == "accuracy", 1 if run["score"] == "accuracy" else 3
    rounded = round(100 * difference if points else difference, digits)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}{' points' if points else ''}"


def _comparison(runs: Sequence[dict[str, Any]]) -> str:
    """How far several runs are apart, in one sentence, as HTML."""
    clauses = []
    evaluated = [run for run in runs if run["summary"]["score"] is not None]
    scored = sorted(evaluated, key=lambda run: run["summary"]["score"])
    if scored and len({run["score"] for run in scored}) == 1:
        low, high = (_in_words(run, run["summary"]["score"]) for run in (scored[0], scored[-1]))
        names = "accuracies lie" if scored[0]["score"] == "accuracy" else "R² lie"
        clauses.append(f"the test {names} between <b>{low}</b> and <b>{high}</b>")
    measured = [run["summary"] for run in runs if run["summary"]["neurons"]]
    if measured:
        shares = [summary["independent"] / summary["neurons"] for summary in measured]
        clauses.append(f"between <b>{min(shares):.0%}</b> and <b>{max(shares):.0%}</b> of the neurons are independent")
    if not clauses:
        return "Nothing has been measured yet."
    sentence = f"{', and '.join(clauses)}."
    return sentence[0].upper() + sentence[1:]
