"""Everything that a report shows, collected from run directories as plain values that JSON can hold.

Numbers have six significant digits, and None stands for what is absent or not finite. A curve of more than POINTS rows
is thinned out such that its spikes stay; of collapse at most STEPS steps are kept. How large the distance matrices may
be is said in `matrices`. So a page's size is bounded for each run by the number of its layers and compressions alone.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__
from ..config import TrainConfig, dump_yaml
from ..errors import InputError
from ..models import library_versions
from ..networks import subject_of
from ..neurons import NeuronLayer, Parameters
from ..runs import COLLAPSE, RunDirectory, labelled
from ..scores import score_of
from .compressed import compressions
from .matrices import spread
from .measured import measure, of_run

POINTS = 600
STEPS = 200
TOLERANCE = 0.1
"""The one that the summary names."""

_CURVES = ("train_loss", "eval_loss", "lr")
_EVALUATIONS = 5  # whose median stands beside the last score: SGD at a large learning rate has bad moments


def collect(runs: Sequence[RunDirectory], advance: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """The report's data: `version`, `written` (time), `tolerance`, and `runs`, a dictionary for each of `runs`.

    In each: what it is (`label`, `path`, `state`, `step`, `max_steps`, `facts`), `score` (accuracy or r2, what says
    how good the network is), `summary`, `curves`, `collapse` (by step and layer), `distances`, `compression` (rows),
    `settings` (YAML), `versions`, `notes`. `advance` is called once for each checkpoint. Raises
    `InputError` where there is no run, and where a file of one is damaged.
    """
    if not runs:
        raise InputError("no run to report on")
    return {
        "version": __version__,
        "written": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "tolerance": TOLERANCE,
        "runs": [_of_run(run, label, len(runs), advance) for run, label in labelled(runs)],
    }


def _of_run(run: RunDirectory, label: str, runs: int, advance: Callable[[], None]) -> dict[str, Any]:
    config, status, metrics = run.config(), run.status(), run.metrics()
    measured = measure(run.checkpoints(), of_run(run), run.collapse(), runs, advance)
    score = score_of(metrics)
    compression, notes = compressions(run)
    named = {f"{score.removeprefix('eval_')}_{when}": f"score_{when}" for when in ("before", "after")}
    compression = compression.rename(columns=named)
    collapse = _collapse(measured.collapse, measured.distances["steps"])
    return {
        "label": label,
        "path": str(run),
        "name": config.name,
        "state": status.get("state", "unknown"),
        "step": status.get("step", 0),
        "seconds": status.get("seconds"),
        "max_steps": config.max_steps,
        "facts": _facts(config),
        "score": score.removeprefix("eval_"),
        "summary": _summary(metrics[score], measured.collapse, compression),
        "curves": _curves(metrics, score),
        "collapse": collapse,
        "distances": measured.distances,
        "compression": [{key: _plain(value) for key, value in row.items()} for row in compression.to_dict("records")],
        "settings": dump_yaml(config),
        "versions": {**status.get("versions", {}), **status.get("execution", {})},
        "notes": measured.notes + notes,
    }


def collect_weights(
    files: Sequence[tuple[int, Path]],
    model: str | None = None,
    advance: Callable[[], None] = lambda: None,
    **how: Any,
) -> dict[str, Any]:
    """The same of files of weights, one for each step, as of one run that has neither settings nor metrics.

    See `networks.subject_of` for `model` and `how`; raises as it does for the last of the files.
    """
    subject = subject_of(files[-1][1], model, **how)

    def read(path: Path) -> tuple[Parameters, list[NeuronLayer]]:
        subject.load(path)
        return {name: value.clone() for name, value in subject.weights().items()}, subject.network.layers

    nothing = pd.DataFrame(columns=list(COLLAPSE)).astype(COLLAPSE)
    measured = measure(dict(files), read, nothing, 1, advance)
    metrics, compression = pd.DataFrame(columns=["step"]), pd.DataFrame(columns=["tolerance"])
    last = files[-1][0]
    label = subject.recipe.name
    return {
        "version": __version__,
        "written": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "tolerance": TOLERANCE,
        "runs": [
            {
                "label": label,
                "path": str(files[-1][1]),
                "name": label,
                "state": "weights",
                "step": last,
                "seconds": None,
                "max_steps": last,
                "facts": [label, f"{len(files)} file{'s' * (len(files) != 1)} of weights", subject.said],
                "score": "accuracy",
                "summary": _summary(pd.Series(dtype=float), measured.collapse, compression),
                "curves": _curves(metrics, "eval_accuracy"),
                "collapse": _collapse(measured.collapse, measured.distances["steps"]),
                "distances": measured.distances,
                "compression": [],
                "settings": dump_yaml({"model": subject.recipe.to_json(), "files": {s: str(p) for s, p in files}}),
                "versions": dict(library_versions(label)),
                "notes": measured.notes,
            }
        ],
    }


def _curves(metrics: pd.DataFrame, score: str) -> dict[str, dict[str, list[Any]]]:
    columns = {"score": score, "bits": "eval_bits_per_token"}
    return {name: _curve(metrics, columns.get(name, name)) for name in (*_CURVES, *columns)}


def _facts(config: TrainConfig) -> list[str]:
    """The settings that a reader asks for first."""
    o, data = config.optimizer, config.data
    momentum = getattr(o, "momentum", None)
    return [
        f"{config.model.name} on {data.name}",
        f"{o.name} at learning rate {o.lr:g}",
        *([f"momentum {momentum:g}"] if momentum else []),
        f"weight decay {o.weight_decay:g}",
        *_noise(config),
        *([f"label noise {data.label_noise:g}"] if data.label_noise else []),
        *([f"target noise {data.target_noise:g}"] if data.target_noise else []),
        f"seed {config.seed}, replicate {config.replicate}",
    ]


def _noise(config: TrainConfig) -> list[str]:
    """What the gradient of a step was made from."""
    batches = "full batches" if config.batch_size == "full" else f"batches of {config.batch_size}"
    match config.gradient_noise:
        case "sampled":
            return [batches]
        case "none":
            return ["no gradient noise"]
        case "isotropic":
            return [f"isotropic noise of the power of {batches}"]


def _summary(scores: pd.Series[float], collapse: pd.DataFrame, compression: pd.DataFrame) -> dict[str, Any]:
    """What it came to: at the last evaluation, the last measurement, the last compression with TOLERANCE."""
    scores = scores.dropna()
    last = collapse[collapse["step"] == collapse["step"].max()]
    chosen = compression[compression["tolerance"] == TOLERANCE].tail(1).to_dict("records")
    return {
        "score": _plain(scores.iloc[-1]) if len(scores) else None,
        "median_score": _plain(scores.tail(_EVALUATIONS).median()) if len(scores) else None,
        "step": int(last["step"].iloc[0]) if len(last) else None,
        "neurons": int(last["neurons"].sum()) if len(last) else None,
        "vanished": int(last["vanished"].sum()) if len(last) else None,
        "independent": int(last["independent"].sum()) if len(last) else None,
        "compression": {key: _plain(value) for key, value in chosen[0].items()} if chosen else None,
    }


def _curve(metrics: pd.DataFrame, column: str) -> dict[str, list[Any]]:
    """`x`, the steps, and `y`, of the rows where `column` is a finite number; none where there is no such column."""
    if column not in metrics:
        return {"x": [], "y": []}
    rows = metrics[np.isfinite(metrics[column])]
    x, y = rows["step"].to_numpy(), rows[column].to_numpy()
    kept = thinned(y)
    return {"x": [int(step) for step in x[kept]], "y": [_plain(value) for value in y[kept]]}


def thinned(values: np.ndarray, at_most: int = POINTS) -> list[int]:
    """Places of about `at_most` of the values: of each of as many stretches as half of it the least and the greatest.

    The first and the last are always among them.
    """
    if len(values) <= at_most:
        return list(range(len(values)))
    stretches = np.array_split(np.arange(len(values)), at_most // 2)
    extreme = {int(s[k]) for s in stretches for k in (values[s].argmin(), values[s].argmax())}
    return sorted(extreme | {0, len(values) - 1})


def _collapse(table: pd.DataFrame, needed: Sequence[int]) -> dict[str, Any]:
    """`steps`; `layers`; and by step and layer `neurons`, `vanished`, `independent` and `effective_rank`.

    At most STEPS steps, evenly spread, and those `needed`.
    """
    steps = sorted({int(step) for step in table["step"]})
    kept = sorted({*spread(steps, STEPS), *needed})
    layers = [str(layer) for layer in dict.fromkeys(table["layer"])]
    by_place = table.drop_duplicates(["step", "layer"], keep="last").set_index(["step", "layer"])

    def values(column: str) -> list[list[Any]]:
        wide = by_place[column].unstack("layer") if len(by_place) else pd.DataFrame(columns=layers)
        return [[_plain(value) for value in row] for row in wide.reindex(index=kept, columns=layers).to_numpy()]

    columns = ("neurons", "vanished", "independent", "effective_rank")
    return {"steps": kept, "layers": layers, **{column: values(column) for column in columns}}


def _plain(value: Any) -> int | float | None:
    """An integer as it is, another number with six significant digits, None where it is not finite."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else float(f"{number:.6g}")
