"""Figure 4 and its supplement from stored sweeps: means, deviations, what is missing, where sweeps are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from stochastic_collapse.figures import batch_size, draw_named, fig4, sources, style

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps.plan import PlannedRun

RATES, NOISES, REPLICATES = (0.01, 0.1), (0.0, 0.4), 3

Draw = Callable[..., Figure]


def fraction(value: float, replicate: int, layer: int) -> float:
    return 1 - value * (1 + layer) - 0.02 * replicate**2


@pytest.fixture
def sweep(plan: Any, store: Any, write_sweep: Any) -> Any:
    """A sweep of `experiments` over `values` of `setting`, of which the runs that are `trained` have results."""

    def make(
        name: str,
        setting: str,
        values: tuple[float, ...],
        *overrides: str,
        experiments: tuple[str, ...] = ("digits",),
        layers: int = 2,
        trained: Callable[[PlannedRun], bool] = lambda run: True,
        state: str = "finished",
    ) -> Any:
        runs = [
            plan(experiment, {setting: value}, replicate, *overrides)
            for experiment in experiments
            for value in values
            for replicate in range(REPLICATES)
        ]
        for run in filter(trained, runs):
            value, k = run.varied[setting], run.config.replicate
            last = {f"fc{layer + 1}": fraction(value, k, layer) for layer in range(layers)}
            store(run.config, {0: dict.fromkeys(last, 1.0), 40: last}, state=state)
        return write_sweep(name, runs)

    return make


@pytest.fixture
def drawn() -> tuple[list[str], Draw]:
    """The lines reported, and a function that draws a figure from what is found."""
    lines: list[str] = []

    def draw(module: Any, *paths: object) -> Figure:
        with style.paper():
            found = sources.swept("fig4", module.NEEDS, [str(path) for path in paths], lines.append)
            figure: Figure = module.draw(module.load(found))
            figure.draw_without_rendering()  # warns, thus fails, where texts don't fit
            return figure

    return lines, draw


def errorbars(panel: Axes) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """x, mean and half the length of the error bars by layer."""
    found = {}
    for container in panel.containers:
        line, _, (bars,) = container.lines  # type: ignore[attr-defined]
        lengths = [np.ptp(segment[:, 1]) / 2 if len(segment) else np.nan for segment in bars.get_segments()]
        found[str(container.get_label())] = (list(line.get_xdata()), list(line.get_ydata()), lengths)
    return found


def texts(panel: Axes) -> list[str]:
    return [text.get_text() for text in panel.texts]


def test_means_and_deviations(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    lines, draw = drawn
    rate = sweep("learning-rate-quick", "optimizer.lr", RATES)
    noise = sweep("label-noise-quick", "data.label_noise", NOISES)
    figure = draw(fig4)
    assert lines == [f"figure fig4: from {rate}, {noise}"]
    for panel, values, label in zip(figure.axes, (RATES, NOISES), ("learning rate", "label noise"), strict=True):
        assert (panel.get_title(loc="left"), panel.get_xlabel()) == ("digits, 40 steps", label)
        for layer, (x, mean, deviation) in enumerate(errorbars(panel).values()):
            replicates = [[fraction(value, k, layer) for k in range(REPLICATES)] for value in values]
            assert x == list(values)
            assert mean == pytest.approx(np.mean(replicates, axis=1))
            assert deviation == pytest.approx(np.std(replicates, axis=1, ddof=1))
    assert list(errorbars(figure.axes[0])) == ["fc1", "fc2"]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["fc1", "fc2"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.01", "0.1"]


def test_twins_are_dashed_beside_their_runs(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    noise = (0.0, 0.5)
    mse = ("loss=mse", "collapse.every=20")
    own = sweep("mine", "data.target_noise", noise, *mse, experiments=("digits", "digits:no-noise"), layers=1)
    figure = drawn[1](fig4, own)
    panel = figure.axes[1]
    assert panel.get_title(loc="left") == "digits, 40 steps"
    assert panel.get_xlabel() == "noise of the targets σ"
    assert list(errorbars(panel)) == ["fc1", "fc1, no-noise"]
    assert [bars[0].get_linestyle() for bars in panel.containers] == ["-", "--"]
    assert texts(figure.axes[0]) == ["no finished run\nover the learning rate"]


def test_what_is_missing_is_named(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    lines, draw = drawn
    rate = sweep("learning-rate-quick", "optimizer.lr", RATES, trained=lambda run: run.config.optimizer.lr < 0.1)
    figure = draw(fig4)
    assert lines[1:] == [
        "figure fig4: missing: a sweep over data.target_noise (sc sweep -f configs/sweeps/label_noise.yaml "
        "--size quick); digits lr 0.1 #0 not trained, digits lr 0.1 #1 not trained, digits lr 0.1 #2 not trained of "
        f"{rate} (sc sweep -f configs/sweeps/learning_rate.yaml --size quick)"
    ]
    left, right = figure.axes
    assert errorbars(left)["fc1"][0] == [0.01]
    assert texts(right) == ["no finished run\nover the label noise"]


def test_unfinished_runs_are_counted_and_not_drawn(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    lines, draw = drawn
    sweep("learning-rate-quick", "optimizer.lr", RATES)
    sweep("label-noise-quick", "data.label_noise", NOISES, state="diverged")
    figure = draw(fig4)
    assert "digits label_noise 0.0 #0 diverged" in lines[1]
    assert " and 2 more of " in lines[1]
    assert texts(figure.axes[1]) == ["no finished run\nover the label noise"]


def test_nothing_to_draw(sweep: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing: a sweep over batch_size \(sc sweep -f configs/sweeps/batch_size"):
        draw_named(["batch-size"])
    sweep("batch-size-quick", "batch_size", (8, 16), trained=lambda run: False)
    with pytest.raises(InputError, match=r"digits batch_size 8 #0 not trained, .* and 2 more of .*--size quick"):
        draw_named(["batch-size"])
    with pytest.raises(InputError, match="no sweep here"):
        draw_named(["batch-size", str(tmp_path)])
    assert not (tmp_path / "runs" / "figures").exists()


def test_the_paper_size_as_soon_as_one_of_its_runs_is_finished(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    lines, draw = drawn
    quick = sweep("batch-size-quick", "batch_size", (8, 16))
    paper = sweep("batch-size-paper", "batch_size", (10, 20), trained=lambda run: False)
    draw(batch_size)
    assert lines.pop() == f"figure fig4: from {quick}"
    sweep("batch-size-paper", "batch_size", (10, 20), trained=lambda run: run.config.replicate == 0)
    (panel,) = draw(batch_size).axes
    assert lines[0] == f"figure fig4: from {paper}"
    assert "--size paper" in lines[1]
    x, _, deviations = errorbars(panel)["fc1"]
    assert x == [10, 20]
    assert np.isnan(deviations).all()  # one replicate has none


def test_a_full_batch_has_no_place_on_the_axis(write_sweep: Any, plan: Any, store: Any, drawn: Any) -> None:
    runs = [plan("digits", {"batch_size": size}, 0) for size in (8, "full")]
    for run in runs:
        store(run.config, {40: {"fc1": 0.5}})
    mixed = write_sweep("mixed", runs)
    with pytest.raises(InputError, match="a full batch has no place on the axis; draw a sweep over numbers"):
        drawn[1](batch_size, mixed)


def test_a_sweep_of_the_users_own(sweep: Any, write_sweep: Any, plan: Any, store: Any, drawn: Any) -> None:
    lines, draw = drawn
    one = sweep("mine", "optimizer.lr", RATES, experiments=("a", "b"))
    free = [
        plan("c", {"optimizer.lr": rate, "batch_size": size, "max_steps": steps}, 0)
        for rate, steps in zip(RATES, (40, 20), strict=True)
        for size in (4, 8)
    ]
    for run in free:
        store(run.config, {run.config.max_steps: {"fc1": 0.5}})
    figure = draw(fig4, one, write_sweep("grid", free))
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    # max_steps goes with the learning rate, batch_size varies at each one.
    networks = ["a, 40 steps", "b, 40 steps", "c, batch_size 4, 20 – 40 steps", "c, batch_size 8, 20 – 40 steps"]
    assert titles[::2] == networks
    assert "a sweep over data.target_noise" in lines[1]
    with pytest.raises(InputError, match="missing: a sweep over batch_size"):
        draw(batch_size, one)


def test_networks_of_one_setting_are_side_by_side(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    sweep("batch-size-quick", "batch_size", (8, 16), experiments=("a", "b", "c"))
    figure = drawn[1](batch_size)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [f"{name}, 40 steps" for name in "abc"]


def test_many_layers_have_a_colour_bar_and_resnets_a_note(sweep: Any, drawn: tuple[list[str], Draw]) -> None:
    sweep("batch-size-quick", "batch_size", (8, 16), "model={name: resnet18}", layers=12)
    panel, bar = drawn[1](batch_size).axes
    assert panel.get_legend() is None
    assert [text.get_text() for text in bar.get_yticklabels()] == [f"fc{k}" for k in range(1, 13)]
    (figure,) = {panel.figure}
    assert figure is not None
    assert "8 inner convolutions and 4 residual streams" in figure.get_supxlabel()


def test_from_the_command_line(sweep: Any, tmp_path: Path) -> None:
    sweep("learning-rate-quick", "optimizer.lr", RATES)
    sweep("batch-size-quick", "batch_size", (8, 16))
    lines: list[str] = []
    written = draw_named(["fig4", "batch-size"], tmp_path / "out", lines.append)
    assert [path.name for path in written] == ["fig4.png", "fig4.pdf", "batch-size.png", "batch-size.pdf"]
    assert all(path.stat().st_size > 1000 for path in written)
    assert len(lines) == 3


def test_a_finished_run_that_was_not_measured(sweep: Any, tmp_path: Path) -> None:
    runs = sweep("batch-size-quick", "batch_size", (8, 16)).runs()
    run: RunDirectory = runs[0].directory
    run.write_collapse(run.collapse()[:0])
    with pytest.raises(InputError, match="nothing measured; run `sc analyze"):
        draw_named(["batch-size"])
