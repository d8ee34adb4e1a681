"""What is said of a run and its twins, from made-up tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from stochastic_collapse.sweeps import THE_RUN, by_run, compare, measured
from stochastic_collapse.sweeps.remaining import MEASURED, remaining
from stochastic_collapse.terminal import print_controls

NEURONS = 200  # in two layers
ACCURACY = {THE_RUN: 0.98, "no-noise": 0.97}


def table(collapsed: Mapping[str, Sequence[int]], first: int = 0) -> pd.DataFrame:
    """`collapsed` neurons of each twin's replicates, all in the first of two layers."""
    rows = []
    for twin, counts in collapsed.items():
        for replicate, count in enumerate(counts, start=first):
            accuracy = ACCURACY.get(twin, 0.9)
            rows.append([twin, replicate, "fc1", NEURONS // 2, NEURONS // 2 - count, 10.0 + replicate, accuracy])
            rows.append([twin, replicate, "fc2", NEURONS // 2, NEURONS // 2, 20.0, accuracy])
    return pd.DataFrame(rows, columns=list(MEASURED))


def says(collapsed: Mapping[str, Sequence[int]]) -> str:
    return compare(table(collapsed)).sentence


def test_the_numbers_of_each_twin() -> None:
    run, twin = compare(table({"no-noise": [30, 50, 40], THE_RUN: [50, 60, 40]})).twins
    assert (run.name, run.replicates, run.neurons, run.remaining) == (THE_RUN, 3, NEURONS, None)
    assert run.independent == pytest.approx((0.75, 0.05))
    assert run.effective_rank["fc1"] == pytest.approx((11, 1))
    assert run.effective_rank["fc2"] == pytest.approx((20, 0))
    assert twin.accuracy == pytest.approx((0.97, 0))
    assert twin.remaining is not None
    assert twin.remaining.ratio == pytest.approx(0.8)
    residual = np.std([30 - 0.8 * 50, 50 - 0.8 * 60, 40 - 0.8 * 40], ddof=1) / NEURONS
    assert twin.remaining.error == pytest.approx(student.ppf(0.975, 2) * residual / math.sqrt(3) / 0.25)


def test_replicates_are_paired() -> None:
    both = pd.concat([table({THE_RUN: [50, 50]}), table({"no-noise": [20, 30]}, first=1)])
    twin = compare(both).twins[1]
    assert twin.remaining is not None
    assert twin.remaining.pairs == 1
    assert twin.remaining.ratio == pytest.approx(20 / 50)
    assert compare(pd.concat([table({THE_RUN: [50]}), table({"no-noise": [20]}, first=1)])).twins[1].remaining is None


def test_the_interval_covers_the_ratio() -> None:
    """Of 1000 intervals of 95 %, between 92 % and 97.5 %: 4 binomial standard deviations around 95 %, or more."""
    rng = np.random.default_rng(1)
    shared, run, twin = rng.normal(size=(3, 1000, 4))
    runs, twins = 0.4 + 0.03 * shared + 0.01 * run, 0.3 + 0.02 * shared + 0.02 * twin
    covered = 0
    for one, other in zip(runs, twins, strict=True):
        index = pd.MultiIndex.from_product([[THE_RUN, "no-noise"], range(4)], names=["twin", "replicate"])
        found = remaining(pd.DataFrame({"collapsed": [*one, *other], "accuracy": 1.0}, index), "no-noise")
        assert found is not None
        covered += abs(found.ratio - 0.75) < found.error
    assert 920 <= covered <= 975


@pytest.mark.parametrize(
    ("collapsed", "sentence"),
    [
        (
            {THE_RUN: [50], "no-noise": [40]},
            "Without gradient noise 0.80 of the collapse remains (0.20 of 0.25 of the neurons collapsed; 1 replicate; "
            "test accuracy 97.0%, of the run 98.0%; no error without replicates).",
        ),
        (
            {THE_RUN: [60, 64, 68], "no-noise": [30, 32, 34]},
            "Without gradient noise 0.50 ± 0.00 of the collapse remains (0.16 of 0.32 of the neurons collapsed; "
            "3 replicates; test accuracy 97.0%, of the run 98.0%; ± of 95 %): the noise adds the rest.",
        ),
        (
            {THE_RUN: [50, 52, 48], "no-noise": [49, 51, 50]},
            "Without gradient noise 1.00 ± 0.09 of the collapse remains (0.25 of 0.25 of the neurons collapsed; "
            "3 replicates; test accuracy 97.0%, of the run 98.0%; ± of 95 %): no effect of the noise is resolved.",
        ),
        (
            {THE_RUN: [50, 52, 48], "no-noise": [70, 71, 72]},
            "Without gradient noise 1.42 ± 0.17 of the collapse remains (0.35 of 0.25 of the neurons collapsed; "
            "3 replicates; test accuracy 97.0%, of the run 98.0%; ± of 95 %): there is less of it with the noise.",
        ),
        (
            {THE_RUN: [50, 51], "noise/8": [25, 25]},
            "With at most 1/8 of the noise power 0.50 ± 0.06 of the collapse remains (0.12 of 0.25 of the neurons "
            "collapsed; 2 replicates; test accuracy 90.0%, of the run 98.0%; ± of 95 %): the noise adds the rest.",
        ),
        (
            {THE_RUN: [0, 1, 0], "no-noise": [0, 0, 0]},
            "Nothing has collapsed in the run (0.0017 of its 200 neurons; 3 replicates; test accuracy 97.0%, of the "
            "run 98.0%).",
        ),
        (
            {THE_RUN: [0], "no-noise": [20]},
            "Nothing has collapsed in the run (0 of its 200 neurons, without gradient noise 0.10 of them; 1 replicate; "
            "test accuracy 97.0%, of the run 98.0%).",
        ),
        (
            {THE_RUN: [0, 0, 60], "no-noise": [10, 0, 20]},
            "How much of the collapse remains without gradient noise is not resolved: 0.05 of the neurons collapsed, "
            "in the run 0.10 ± 0.17 (3 replicates, too few for this spread; test accuracy 97.0%, of the run 98.0%).",
        ),
        (
            {THE_RUN: [50], "isotropic": [10], "no-weight-decay": [0]},
            "No twin without gradient noise is finished, so that nothing can be said of the noise.",
        ),
        ({"no-noise": [10]}, "The run is not finished, so that there is nothing to compare with."),
        ({}, "The run is not finished, so that there is nothing to compare with."),
    ],
)
def test_the_sentence(collapsed: dict[str, list[int]], sentence: str) -> None:
    assert says(collapsed) == sentence


def test_no_noise_speaks_before_less_noise() -> None:
    assert says({THE_RUN: [50], "noise/8": [45], "no-noise": [40]}).startswith("Without gradient noise 0.80 of")


def test_json_has_no_nan() -> None:
    run, twin = compare(table({THE_RUN: [50], "no-noise": [40]})).to_json()["twins"]
    assert run["independent"] == {"value": 0.75, "deviation": None}
    assert twin["remaining"]["ratio"] == pytest.approx(0.8)
    assert twin["remaining"]["error"] is None
    assert run["remaining"] is None


def test_all_layers_together_are_weighted_by_their_neurons() -> None:
    assert list(by_run(table({THE_RUN: [50, 10]}))["collapsed"]) == pytest.approx([50 / NEURONS, 10 / NEURONS])


def test_nothing_finished_is_an_empty_table() -> None:
    assert list(measured([]).columns) == list(MEASURED)


def test_the_printed_tables_fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    layers = [table({THE_RUN: [50, 40], "larger-batch-epochs": [40, 41]}).assign(layer=f"conv{k}") for k in range(9)]
    print_controls("vgg", compare(pd.concat(layers)))
    out = capsys.readouterr().out
    assert "…" not in out
    assert [out.count(f"rank conv{k} ") for k in range(9)] == [1] * 9
    assert max(len(line) for line in out.splitlines() if line.startswith(("│", "┃"))) <= 80
