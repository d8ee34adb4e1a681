"""How much of a run's collapse remains in its twins: the numbers of `sc control`, and what they say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from .control_set import THE_RUN
from .directory import SweptRun

MEASURED = ("twin", "replicate", "layer", "neurons", "independent", "effective_rank", "accuracy")
"""Columns of what was measured: a row for each finished run and layer."""

_EVALUATIONS = 5
"""At a large learning rate SGD has moments of bad accuracy, so it is the median of so many that counts."""


class Mean(NamedTuple):
    """Over replicates."""

    value: float
    deviation: float
    """Standard deviation; NaN of a single replicate."""

    @classmethod
    def of(cls, values: pd.Series[float]) -> Mean:
        return cls(float(values.mean()), float(values.std(ddof=1)))


class Remaining(NamedTuple):
    """Of the collapse of a run, what there is in a twin; pairs of replicates, which have the same seeds."""

    ratio: float
    """Mean collapse of the twin over that of the run; NaN where the run has none."""
    error: float
    """Half of the interval of 95 % (Student's t of the pairs, delta method); NaN of a single pair."""
    pairs: int
    run: Mean
    """Fraction of the neurons that have collapsed in the run: 1 − independent / all."""
    twin: Mean
    """And in the twin."""


def measured(runs: Iterable[SweptRun]) -> pd.DataFrame:
    """The last measurement of each finished run, with the columns MEASURED.

    `accuracy` is the median of the last five evaluations on the test set, between 0 and 1.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        if not run.is_finished:
            continue
        collapse = run.directory.collapse()
        step = collapse["step"].max()
        about = {
            "twin": run.experiment,
            "replicate": run.replicate,
            "accuracy": run.directory.eval_accuracy(step, _EVALUATIONS),
        }
        rows += [{**layer, **about} for layer in collapse[collapse["step"] == step].to_dict("records")]
    return pd.DataFrame(rows, columns=list(MEASURED))


def by_run(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each twin and replicate of `table`, as `measured` makes it: collapsed, neurons, accuracy.

    `collapsed` is the fraction of the neurons of all layers together that is not independent.
    """
    runs = table.groupby(["twin", "replicate"], sort=False)
    sums = runs[["neurons", "independent"]].sum()
    collapsed = 1 - sums["independent"] / sums["neurons"]
    return pd.DataFrame({"collapsed": collapsed, "neurons": sums["neurons"], "accuracy": runs["accuracy"].first()})


def remaining(table: pd.DataFrame, twin: str) -> Remaining | None:
    """What remains in `twin`; None where no replicate of both is finished.

    The error is that of a ratio of means (Cochran 1977, Sampling Techniques, §6.4).
    """
    collapsed = by_run(table)["collapsed"].unstack("twin").reindex(columns=[THE_RUN, twin]).dropna()
    n = len(collapsed)
    if not n:
        return None
    run, other = Mean.of(collapsed[THE_RUN]), Mean.of(collapsed[twin])
    if run.value == 0:
        return Remaining(math.nan, math.nan, n, run, other)
    ratio = other.value / run.value
    residual = Mean.of(collapsed[twin] - ratio * collapsed[THE_RUN])
    return Remaining(ratio, _half_interval(residual, n) / run.value, n, run, other)


def sentence(table: pd.DataFrame) -> str:
    """How much of the collapse remains without the noise, as far as `table` tells."""
    names = list(table["twin"].unique())
    if THE_RUN not in names:
        return "The run is not finished, so that there is nothing to compare with."
    averaged = [name for name in names if name.startswith("noise/")]
    twin = next((name for name in ("no-noise", *averaged) if name in names), None)
    found = remaining(table, twin) if twin is not None else None
    if twin is None or found is None:
        return "No twin without gradient noise is finished, so that nothing can be said of the noise."
    without = "Without gradient noise" if twin == "no-noise" else f"With {twin.partition('/')[2]} times less noise power"
    accuracy = by_run(table)["accuracy"].groupby("twin").mean()
    about = f"{_replicates(found.pairs)}; test accuracy {accuracy[twin]:.1%}, with it {accuracy[THE_RUN]:.1%}"
    run, other = found.run.value, found.twin.value
    neurons = int(by_run(table)["neurons"].max())
    if run * neurons < 1:  # fewer than one neuron
        more = f", {without[0].lower()}{without[1:]} {other:.2f} of them" if other * neurons >= 1 else ""
        return f"Nothing has collapsed in the run ({run:.2g} of its {neurons} neurons{more}; {about})."
    if found.pairs > 1 and run <= _half_interval(found.run, found.pairs):
        return (
            f"How much remains is not resolved: the collapse of the run, {run:.2f} ± {found.run.deviation:.2f} of the "
            f"neurons, varies too much among replicates; {without[0].lower()}{without[1:]} it is {other:.2f} ({about})."
        )
    counts = f"{other:.2f} of {run:.2f} of the neurons collapsed"
    if found.pairs == 1:
        return f"{without} {found.ratio:.2f} of the collapse remains ({counts}; {about}; no error without replicates)."
    says = f"{without} {found.ratio:.2f} ± {found.error:.2f} of the collapse remains ({counts}; {about}; ± of 95 %)"
    low, high = found.ratio - found.error, found.ratio + found.error
    if low > 1:
        return f"{says}: there is more of it without the noise."
    if high < 1:
        return f"{says}: the noise adds the rest."
    return f"{says}: no effect of the noise is resolved."


def _half_interval(mean: Mean, n: int) -> float:
    """Half of the interval of 95 % of a mean over `n`; NaN for n = 1."""
    if n == 1:
        return math.nan
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.975)) * mean.deviation / math.sqrt(n)


def _replicates(n: int) -> str:
    return f"{n} replicate{'s' * (n != 1)}"
