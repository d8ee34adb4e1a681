"""The figure of a run and its twins, from stored tables: what is drawn is what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stochastic_collapse.figures import control, style

from stochastic_collapse.cli import run as sc
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps import THE_RUN, SweepDirectory, controls_of_file

from .conftest import Store

FRACTIONS = {THE_RUN: 0.6, "no-noise": 0.8, "lower-rate": 0.7}


@pytest.fixture
def finished(store: Store, tiny_file: Path) -> RunDirectory:
    """The first replicate of a run, of which two are finished, and a third of whose twin of a lower rate is not."""
    sweep = controls_of_file(str(tiny_file), (), ["no-noise", "lower-rate"], replicates=2).sweep
    for run in sweep.runs:
        fraction = FRACTIONS[run.experiment] + 0.02 * run.config.replicate
        state = "running" if (run.experiment, run.config.replicate) == ("lower-rate", 1) else "finished"
        store(run.config, {40: {"fc1": fraction, "fc2": 1.0}}, {40: 0.9 + 0.02 * run.config.replicate}, state)
    SweepDirectory(sweep.directory).write_record(sweep.runs)
    return sweep.runs[0].directory


def test_rows_are_twins_and_marks_are_means_over_replicates(finished: RunDirectory) -> None:
    results = control.load([finished])
    with style.paper():
        figure = control.draw(results)
    collapse, ranks, accuracy = figure.axes
    assert [label.get_text() for label in collapse.get_yticklabels()] == list(FRACTIONS)
    assert [panel.get_xlabel() for panel in figure.axes] == [
        "collapsed neurons (%)",
        "effective rank",
        "test accuracy (%)",
    ]
    # in the order of errorbar: all layers, fc1, fc2; the lower rate has one replicate
    together, first, second = (np.asarray(container.lines[0].get_xdata(), float) for container in collapse.containers)
    assert first == pytest.approx([39, 19, 30])
    assert second == pytest.approx([0, 0, 0])
    assert together == pytest.approx([19.5, 9.5, 15])
    (bars,) = collapse.containers[1].lines[2]
    half = [np.ptp(segment[:, 0]) / 2 for segment in bars.get_segments()]
    assert half == pytest.approx([100 * 0.02 / np.sqrt(2)] * 2 + [0])
    assert np.asarray(accuracy.containers[0].lines[0].get_xdata(), float) == pytest.approx([91, 91, 90])
    assert len(ranks.containers) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all layers", "fc1", "fc2"]
    assert figure.get_suptitle().startswith(f"{finished.path.parent.name}: Without gradient noise 0.49 ± ")


def test_many_layers_fit_a_page(finished: RunDirectory) -> None:
    results = control.load([finished])
    deep = control.Twins(results.title, results.table)
    deep.table["layer"] = [f"conv{k % 16}" for k in range(len(deep.table))]
    with style.paper():
        figure = control.draw(deep)
    assert figure.get_figheight() < 9
    assert len(figure.axes[0].containers) == 1 + len(deep.table["layer"].unique())


def test_sc_figures_control(finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sc(["figures", "control", str(finished.path.parent), "--json"]) == 0
    paths = [Path(path) for path in json.loads(capsys.readouterr().out)["figures"]]
    assert [path.name for path in paths] == ["control.png", "control.pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_twins_that_a_sweep_trained_are_found(finished: RunDirectory) -> None:
    name = f"control-{finished.path.parent.name}"
    (finished.path.parents[1] / "sweeps" / name / "sweep.json").unlink()
    assert list(control.load([finished]).table["twin"].unique()) == list(FRACTIONS)


def test_what_cannot_be_drawn_is_one_line(store: Store, tiny: Callable[..., TrainConfig]) -> None:
    alone = store(tiny(), {40: {"fc1": 0.5}}, {40: 0.9})
    with pytest.raises(InputError, match=r"tiny-\w{12}: no twin of it is finished; run `sc control .*replicate_0`"):
        control.load([alone])
    other = store(tiny("optimizer.lr=1"), {40: {"fc1": 0.5}}, {40: 0.9})
    with pytest.raises(InputError, match=r"tiny-\w{12}, tiny-\w{12}: several experiments; name the runs of one"):
        control.load([alone, other])
