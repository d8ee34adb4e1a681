"""Figure 6 from a stored sweep: continuations are paired with their origins, shifted, and averaged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from stochastic_collapse.figures import draw_named, fig6, sources, style

from stochastic_collapse.config import TrainConfig
from stochastic_collapse.errors import InputError
from stochastic_collapse.origin import planned
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps.plan import PlannedRun

DROPS, REPLICATES, LAYERS = (15, 30), 3, ("fc1", "fc2")
HIGH = ("optimizer.lr=0.1",)
AFTER = {15: (0.80, 0.82, 0.87), 30: (0.90, 0.90, 0.93)}  # by drop time, of each replicate


@pytest.fixture
def sweep(tiny: Callable[..., TrainConfig], plan: Any, store: Any, write_sweep: Any) -> Any:
    def make(
        *networks: str,
        trained: Callable[[PlannedRun], bool] = lambda run: True,
        measured: tuple[int, ...] = (0, 15, 30, 40),
    ) -> Any:
        runs = []
        for network in networks:
            for k in range(REPLICATES):
                high = plan(network, {}, k, *HIGH, f"seed={1 + len(network)}")
                runs.append(high)
                if trained(high):
                    fractions = {step: {"fc1": 1 - step / 100, "fc2": 1 - step / 200 - 0.1 * k} for step in measured}
                    store(high.config, fractions, {10: 0.5, 14: 0.6 + 0.1 * k, 29: 0.7 + 0.1 * k, 40: 0.1})
                for drop in DROPS:
                    origin = (f"from.run={high.directory.path.parent}", f"from.step={drop}")
                    config = tiny(f"name={network}-drop", f"replicate={k}", "optimizer.lr=0.01", *origin)
                    config = planned(config, high.config)
                    low = PlannedRun(f"{network}-drop", {"from.step": drop}, config, "tiny.yaml", (), high.directory)
                    runs.append(low)
                    if trained(low):
                        store(low.config, {40: {"fc1": 0.0}}, {20: 0.3, 40: AFTER[drop][k]})
        return write_sweep("learning-rate-drop-quick", runs)

    return make


def draw() -> tuple[Figure, list[str]]:
    lines: list[str] = []
    with style.paper():
        figure = fig6.draw(fig6.load(sources.swept("fig6", fig6.NEEDS, [], lines.append)))
        figure.draw_without_rendering()
    return figure, lines


def curves(panel: Axes) -> dict[str, Any]:
    """x and y of each line by its label."""
    labelled = [line for line in panel.get_lines() if not str(line.get_label()).startswith("_")]
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in labelled
    }


def test_curves_go_on_from_the_drop(sweep: Any) -> None:
    sweep("digits")
    figure, _ = draw()
    loss, accuracy, *_ = figure.axes
    assert list(curves(loss)) == ["lr 0.1", "lr 0.01 from 15", "lr 0.01 from 30"]
    assert curves(loss)["lr 0.1"] == ([10, 14, 29, 40], pytest.approx([1 / 11, 1 / 15, 1 / 30, 1 / 41]))
    steps, percent = curves(accuracy)["lr 0.01 from 30"]
    assert steps == [50, 70]
    assert percent == pytest.approx([30, 91])
    for panel in (loss, accuracy):
        dashed = [line for line in panel.get_lines() if line.get_linestyle() == "--"]
        assert [np.asarray(line.get_xdata())[0] for line in dashed] == list(DROPS)
    assert loss.get_yscale() == "log"


def test_accuracies_before_and_after_with_standard_errors(sweep: Any) -> None:
    sweep("digits")
    figure, _ = draw()
    after, before = figure.axes[3:]
    assert curves(after) == {
        "40 steps after": (list(DROPS), pytest.approx([100 * np.mean(AFTER[drop]) for drop in DROPS]))
    }
    assert curves(before) == {"just before": (list(DROPS), pytest.approx([70, 80]))}  # the last evaluation until then
    expected = [100 * np.std(AFTER[drop], ddof=1) / math.sqrt(REPLICATES) for drop in DROPS]
    for panel, errors in ((after, expected), (before, [10 / math.sqrt(3)] * 2)):
        segments = [container.lines[2][0].get_segments()[0] for container in panel.containers]  # type: ignore[attr-defined]
        assert [np.ptp(segment[:, 1]) / 2 for segment in segments] == pytest.approx(errors)


def test_fractions_at_the_drops(sweep: Any) -> None:
    sweep("digits")
    figure, _ = draw()
    panel = figure.axes[2]
    assert [text.get_text() for text in panel.get_xticklabels()] == list(LAYERS)
    means = [np.asarray(container.lines[0].get_ydata()) for container in panel.containers]  # type: ignore[attr-defined]
    assert means[0] == pytest.approx([0.85, 0.825])
    assert means[1] == pytest.approx([0.7, 0.75])


def test_each_network_has_its_own_panels(sweep: Any) -> None:
    sweep("digits", "another")
    figure, lines = draw()
    assert len(figure.axes) == 10
    titles = [block.legends[0].get_title().get_text() for block in figure.subfigs]
    assert titles == ["digits", "another"]
    assert len(lines) == 1


def test_what_is_missing(sweep: Any) -> None:
    sweep("digits", trained=lambda run: "from.step" not in run.varied)
    figure, lines = draw()
    assert "missing: digits-drop step 15 #0 not trained, " in lines[1]
    assert "and 2 more" in lines[1]
    assert lines[1].endswith("(sc sweep -f configs/sweeps/learning_rate_drop.yaml --size quick)")
    texts = [[text.get_text() for text in panel.texts] for panel in figure.axes]
    assert texts == [[], [], ["not measured\nat the drop times"], ["no continuation\nis finished"], [""]]


def test_a_drop_of_some_replicates_only(sweep: Any) -> None:
    made = sweep("digits", trained=lambda run: run.config.replicate == 0 or not run.varied, measured=(0, 40))
    figure, _ = draw()
    assert curves(figure.axes[3])["40 steps after"][1] == pytest.approx([80, 90])
    assert [text.get_text() for text in figure.axes[2].texts] == ["not measured\nat the drop times"]
    for run in made.runs():
        if not run.varied:
            RunDirectory(run.directory.path).write_status("running", 3, 1.0)
    with pytest.raises(InputError, match="no run of the sweep at the high learning rate is finished"):
        draw()


def test_nothing_to_draw(sweep: Any) -> None:
    with pytest.raises(InputError, match=r"missing: a sweep over from.step \(sc sweep -f configs/sweeps/learning_rate"):
        draw_named(["fig6"])
    sweep("digits", trained=lambda run: False)
    with pytest.raises(InputError, match="missing: digits #0 not trained, "):
        draw_named(["fig6"])
