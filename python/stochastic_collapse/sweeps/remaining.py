"""How much of a run's collapse remains in its twins: the numbers of `sc control`, and what they say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .control_set import THE_RUN
from .controls import averages
from .directory import SweptRun

if TYPE_CHECKING:
    import pandas as pd

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
    """Of the collapse of a run, what there is in a twin; from the replicates that both have, with the same seeds."""

    ratio: float
    """Mean collapse of the twin over that of the run; NaN where the run has none."""
    error: float
    """Half of the interval of 95 % (Student's t of the pairs, delta method); NaN of a single pair."""
    pairs: int
    run: Mean
    """Fraction of the neurons that have collapsed in the run: 1 − independent / all."""
    twin: Mean
    """And in the twin."""
    accuracies: tuple[float, float]
    """Mean test accuracy of run and twin, between 0 and 1."""


class Twin(NamedTuple):
    """The numbers of a twin, or of the run itself, over its finished replicates."""

    name: str
    replicates: int
    neurons: int
    """Of all layers together."""
    independent: Mean
    """Fraction of them."""
    accuracy: Mean
    """Test accuracy, between 0 and 1, of each replicate the median of the last five evaluations."""
    effective_rank: dict[str, Mean]
    """By layer."""
    remaining: Remaining | None
    """None where no replicate of it and of the run is finished."""


class Comparison(NamedTuple):
    """A run and its twins, those with finished replicates."""

    twins: list[Twin]
    sentence: str
    """How much of the collapse remains without the noise."""

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON values; null is what one replicate, or no collapse, does not give."""
        return dict(_json(self._asdict()))


def measured(runs: Iterable[SweptRun]) -> pd.DataFrame:
    """The last measurement of each finished run, with the columns MEASURED.

    `accuracy` is the median of the last five evaluations on the test set, between 0 and 1.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for run in runs:
        if not run.is_finished:
            continue
        collapse = run.directory.collapse()
        step = collapse["step"].max()
        about = {
            "twin": run.experiment,
            "replicate": run.replicate,
            "accuracy": run.directory.score(step, _EVALUATIONS),
        }
        rows += [{**layer, **about} for layer in collapse[collapse["step"] == step].to_dict("records")]
    return pd.DataFrame(rows, columns=list(MEASURED)).astype({"accuracy": float})


def by_run(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each twin and replicate of `table`, as `measured` makes it: collapsed, neurons, accuracy.

    `collapsed` is the fraction of the neurons of all layers together that is not independent.
    """
    runs = table.groupby(["twin", "replicate"], sort=False)
    numbers = runs.agg({"neurons": "sum", "independent": "sum", "accuracy": "first"})
    return numbers.assign(collapsed=1 - numbers["independent"] / numbers["neurons"])


def compare(table: pd.DataFrame) -> Comparison:
    """The numbers of all twins in `table`, as `measured` makes it, the run first, and what they say."""
    runs = by_run(table)
    names = sorted(table["twin"].unique(), key=lambda name: name != THE_RUN)
    twins = []
    for name in names:
        layers = table[table["twin"] == name].groupby("layer", sort=False)["effective_rank"]
        own = runs.loc[name]
        twins.append(
            Twin(
                name,
                len(own),
                int(own["neurons"].max()),
                Mean.of(1 - own["collapsed"]),
                Mean.of(own["accuracy"]),
                {str(layer): Mean.of(ranks) for layer, ranks in layers},
                remaining(runs, name) if name != THE_RUN else None,
            )
        )
    return Comparison(twins, sentence(twins))


def remaining(runs: pd.DataFrame, twin: str) -> Remaining | None:
    """What remains in `twin`, from the rows of `by_run`; None where no replicate of both is finished.

    The error is that of a ratio of means (Cochran 1977, Sampling Techniques, §6.4).
    """
    if THE_RUN not in runs.index:
        return None
    reference, own = (runs.loc[[name]].droplevel("twin") for name in (THE_RUN, twin))
    pairs = own.join(reference.add_suffix("_of_run"), how="inner")
    if pairs.empty:
        return None
    n = len(pairs)
    accuracies = float(pairs["accuracy_of_run"].mean()), float(pairs["accuracy"].mean())
    run, other = Mean.of(pairs["collapsed_of_run"]), Mean.of(pairs["collapsed"])
    if run.value == 0:
        return Remaining(math.nan, math.nan, n, run, other, accuracies)
    ratio = other.value / run.value
    residual = Mean.of(pairs["collapsed"] - ratio * pairs["collapsed_of_run"])
    return Remaining(ratio, half_interval(residual, n) / run.value, n, run, other, accuracies)


def sentence(twins: Sequence[Twin]) -> str:
    """How much of the collapse remains without the noise, as far as `twins`, the run among them, tell."""
    neurons = next((twin.neurons for twin in twins if twin.name == THE_RUN), None)
    if neurons is None:
        return "The run is not finished, so that there is nothing to compare with."
    quieter = [twin for twin in twins if twin.name == "no-noise"] + [twin for twin in twins if averages(twin.name)]
    name, what = next(((twin.name, twin.remaining) for twin in quieter if twin.remaining), ("", None))
    if what is None:
        return "No twin without gradient noise is finished, so that nothing can be said of the noise."
    without = f"with at most 1/{averages(name)} of the noise power" if averages(name) else "without gradient noise"
    replicates = f"{what.pairs} replicate{'s' * (what.pairs != 1)}"
    accuracy = f"test accuracy {what.accuracies[1]:.1%}, of the run {what.accuracies[0]:.1%}"
    about = f"{replicates}; {accuracy}"
    run, other = what.run.value, what.twin.value
    if run * neurons < 1:
        more = f", {without} {other:.2f} of them" if other * neurons >= 1 else ""
        return f"Nothing has collapsed in the run ({run:.2g} of its {neurons} neurons{more}; {about})."
    if what.pairs > 1 and run <= half_interval(what.run, what.pairs):
        return (
            f"How much of the collapse remains {without} is not resolved: {other:.2f} of the neurons collapsed, in the "
            f"run {run:.2f} ± {what.run.deviation:.2f} ({replicates}, too few for this spread; {accuracy})."
        )
    counts = f"{other:.2f} of {run:.2f} of the neurons collapsed"
    if what.pairs == 1:
        error, verdict = "", "; no error without replicates)."
    else:
        error, verdict = f" ± {what.error:.2f}", f"; ± of 95 %): {_verdict(what)}."
    return f"{without.capitalize()} {what.ratio:.2f}{error} of the collapse remains ({counts}; {about}{verdict}"


def _verdict(what: Remaining) -> str:
    if what.ratio - what.error > 1:
        return "there is less of it with the noise"
    if what.ratio + what.error < 1:
        return "the noise adds the rest"
    return "no effect of the noise is resolved"


def half_interval(mean: Mean, n: int) -> float:
    """Half of the interval of 95 % of a mean over `n`; NaN for n = 1."""
    if n == 1:
        return math.nan
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.975)) * mean.deviation / math.sqrt(n)


def _json(value: Any) -> Any:
    """Named tuples as objects, NaN as null."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _json(value._asdict())
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, list | tuple) else value
