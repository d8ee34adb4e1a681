"""The collapse figure from small stored results: what is drawn is what the tables say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from stochastic_collapse.figures import collapse, style

from stochastic_collapse.runs import COLLAPSE, METRICS


def curves(label: str, layers: int, replicates: int = 1) -> collapse.Curves:
    measured, logged = [], []
    for replicate in range(replicates):
        for step in (0, 1000, 2000):
            for layer in range(layers):
                fraction = 1 - step / 4000 - 0.1 * replicate
                measured.append([step, f"fc{layer}", 10, 0, round(10 * fraction), fraction, 5.0])
            logged.append([step, step / 100, 0.1, 0.5, 0.4, 0.9 + 0.01 * replicate])
    return collapse.Curves(
        label, pd.DataFrame(measured, columns=list(COLLAPSE)), pd.DataFrame(logged, columns=[*METRICS, "eval_accuracy"])
    )


def line(panel: Axes, k: int) -> tuple[list[float], list[float]]:
    drawn = panel.get_lines()[k]
    return list(np.asarray(drawn.get_xdata(), float)), list(np.asarray(drawn.get_ydata(), float))


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 15])
def test_one_panel_per_layer_and_one_for_accuracy(layers: int) -> None:
    with style.paper():
        figure = collapse.draw([curves("lr 0.1", layers), curves("lr 0.01", layers)])
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == [*(f"fc{k} (10 neurons)" for k in range(layers)), "test accuracy (%)"]
    assert line(figure.axes[0], 0) == ([0, 1000, 2000], [1, 0.75, 0.5])
    assert line(figure.axes[-1], 0)[1] == pytest.approx([90, 90, 90])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["lr 0.1", "lr 0.01"]


def test_replicates_are_a_mean_and_a_band() -> None:
    with style.paper():
        figure = collapse.draw([curves("lr 0.1", 1, replicates=3)])
    panel = figure.axes[0]
    assert line(panel, 0)[1] == pytest.approx([0.9, 0.65, 0.4])
    (band,) = panel.collections
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(1.0)  # 0.9 + 0.1


def test_steps_are_labelled_briefly() -> None:
    assert [style.thousands(v) for v in (0, 500, 1500, 20_000, 1e6)] == ["0", "500", "1.5k", "20k", "1M"]


def test_long_names_of_layers_keep_their_ends_on_a_line_of_their_own() -> None:
    named = curves("lr 0.1", 2)
    table = named.collapse.replace({"layer": {"fc0": "encoder.layer.11.attention.heads", "fc1": "blocks.0.attn.heads"}})
    with style.paper():
        figure = collapse.draw([replace(named, collapse=table)])
    titles = [panel.get_title() for panel in figure.axes]
    assert titles[:2] == ["…ayer.11.attention.heads\n10 neurons", "blocks.0.attn.heads\n10 neurons"]
