"""Figure 3 from stored checkpoints: the distances, their order, which runs and layers are shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stochastic_collapse.figures import draw_named, fig3, sources, style

from stochastic_collapse.collapse import clustered
from stochastic_collapse.config import TrainConfig, load_config
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory

Weights = dict[str, torch.Tensor]


@pytest.fixture
def stored(tiny: Callable[..., TrainConfig], store: Any) -> Callable[..., RunDirectory]:
    def make(weights: Weights, *overrides: str, state: str = "finished") -> RunDirectory:
        run: RunDirectory = store(tiny(*overrides), {}, state=state)
        run.checkpoint(40).parent.mkdir(exist_ok=True)
        torch.save({"model": weights}, run.checkpoint(40))
        return run

    return make


def network(*widths: int, seed: int = 0) -> Weights:
    """Random weights of a fully connected network."""
    random = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for k, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
        weights[f"fc{k}.weight"] = torch.randn(outputs, inputs, generator=random)
        weights[f"fc{k}.bias"] = torch.randn(outputs, generator=random)
    return weights


def distances(w: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (w**2).sum(axis=1)
    return 2 * ((w[:, None] - w[None]) ** 2).sum(axis=2) / (squares[:, None] + squares[None] + 1e-8)


def test_copies_of_a_neuron_come_out_side_by_side(stored: Any) -> None:
    weights = network(6, 12, 5)
    kind = torch.tensor([0, 1, 2, 1, 0, 2, 2, 0, 1, 0, 1, 2])
    weights = {
        "fc1.weight": weights["fc1.weight"][kind],
        "fc1.bias": weights["fc1.bias"][kind],
        "fc2.weight": weights["fc2.weight"][:, kind],
        "fc2.bias": weights["fc2.bias"],
    }
    (shown,) = fig3.load([stored(weights)])
    (layer,) = shown.layers
    assert (shown.title, layer.name) == ("tiny, step 40", "fc1")
    blocks = np.kron(np.eye(3), np.ones((4, 4))) > 0
    for matrix in (layer.incoming, layer.outgoing):
        assert (matrix[blocks] < 1e-5).all()
        assert (matrix[~blocks] > 0.1).all()


def test_biases_are_incoming_and_both_matrices_have_one_order(stored: Any) -> None:
    weights = network(6, 9, 4)
    weights["fc1.weight"][:] = weights["fc1.weight"][0]  # the neurons differ in their biases only
    ((layer,),) = [shown.layers for shown in fig3.load([stored(weights)])]
    incoming = np.hstack([weights["fc1.weight"].numpy(), weights["fc1.bias"].numpy()[:, None]]).astype(float)
    order = clustered(distances(incoming))
    assert order != list(range(9))
    np.testing.assert_allclose(layer.incoming, distances(incoming)[np.ix_(order, order)], atol=1e-9)
    outgoing = weights["fc2.weight"].numpy().T.astype(float)
    np.testing.assert_allclose(layer.outgoing, distances(outgoing)[np.ix_(order, order)], atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_clusters_of_average_linkage_are_contiguous(seed: int) -> None:
    """Against the definition: again and again, the two clusters of the smallest mean distance become one."""
    w = np.random.default_rng(seed).normal(size=(int(seed / 2) + 2, 3))
    distance = distances(w)
    place = np.argsort(clustered(distance))
    clusters = [[k] for k in range(len(w))]
    while len(clusters) > 1:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
        a, b = min(pairs, key=lambda pair: distance[np.ix_(clusters[pair[0]], clusters[pair[1]])].mean())
        merged = clusters[a] + clusters[b]
        assert np.ptp(place[merged]) == len(merged) - 1
        clusters = [cluster for k, cluster in enumerate(clusters) if k not in (a, b)] + [merged]


def test_a_single_neuron_has_an_order() -> None:
    assert clustered(np.zeros((1, 1))) == [0]


@pytest.mark.parametrize(
    ("hidden", "layers"), [(1, ["fc1"]), (2, ["fc1", "fc2"]), (3, ["fc1", "fc2", "fc3"]), (6, ["fc1", "fc4", "fc6"])]
)
def test_up_to_three_layers(stored: Any, hidden: int, layers: list[str]) -> None:
    (shown,) = fig3.load([stored(network(4, *[5] * hidden, 3))])
    assert [layer.name for layer in shown.layers] == layers


def test_the_published_layers_are_there() -> None:
    from stochastic_collapse.config import ResNetSettings, VGGSettings
    from stochastic_collapse.models import build_model
    from stochastic_collapse.neurons import neuron_layers
    from stochastic_collapse.task import Task

    for settings in (VGGSettings(name="vgg16", width=0.05), ResNetSettings(name="resnet18", width=0.05)):
        weights = dict(build_model(settings, Task((3, 32, 32), 10)).named_parameters())
        there = [layer.name for layer in neuron_layers(settings.name, weights)]
        assert set(fig3.LAYERS[settings.name]) <= set(there)


def test_drawing(stored: Any) -> None:
    one = stored(network(4, 6, 7, 3))
    two = stored(network(4, 8, 3, seed=1), "optimizer.lr=0.2")
    with style.paper():
        figure = fig3.draw(fig3.load([one, two]))
        figure.draw_without_rendering()
    *panels, bar = figure.axes
    assert [panel.get_title() for panel in panels] == ["fc1\n6 neurons", "fc2\n7 neurons", "", "", "fc1\n8 neurons", ""]
    assert [panel.get_ylabel() for panel in panels] == ["incoming", "", "outgoing", "", "incoming", "outgoing"]
    assert bar.get_ylabel() == "normalized distance"
    assert [np.shape(panel.images[0].get_array()) for panel in panels[:2]] == [(6, 6), (7, 7)]
    titles = [block.get_suptitle() for block in figure.subfigs[0].subfigs]
    assert titles == ["lr 0.05, step 40", "lr 0.2, step 40"]


def test_the_runs_named(stored: Any, tmp_path: Path) -> None:
    runs = [stored(network(4, 5, 3), f"replicate={k}") for k in range(4)]
    running = stored(network(4, 5, 3), "optimizer.lr=0.2", state="running")
    lines: list[str] = []
    written = draw_named(["fig3", str(tmp_path / "runs")], None, lines.append)
    assert [path.name for path in written] == ["fig3.png", "fig3.pdf"]
    assert lines == [f"figure fig3: not finished: {running} (running)"]
    with pytest.raises(InputError, match="not finished: "):
        draw_named(["fig3", str(running)])
    assert len(fig3.load(runs)) == 1  # the first replicate
    assert len(fig3.load(runs[:2])) == 2
    others = [stored(network(4, 5, 3), f"optimizer.lr={rate}") for rate in (0.3, 0.4)]
    with pytest.raises(InputError, match="drawn from one or two runs, found "):
        fig3.load([*runs, *others])


def test_a_run_without_a_checkpoint(tiny: Callable[..., TrainConfig], store: Any) -> None:
    with pytest.raises(InputError, match="no checkpoint to draw"):
        fig3.load([store(tiny(), {})])


def test_the_best_of_the_shipped_runs(store: Any) -> None:
    vgg, resnet = (need.file for need in fig3.NEEDS["paper"])
    (mlp,) = (need.file for need in fig3.NEEDS["quick"])
    lines: list[str] = []

    def found() -> list[RunDirectory]:
        return sources.trained("fig3", fig3.NEEDS, [], lines.append)

    with pytest.raises(InputError, match=f"figure fig3: not finished: sc train -f {mlp}"):
        found()
    quick = store(load_config(mlp), {})
    assert found() == [quick]
    assert lines == [f"figure fig3: from {quick}"]
    best = store(load_config(resnet), {})
    assert found() == [best]
    assert lines[1:] == [f"figure fig3: from {best}", f"figure fig3: not finished: sc train -f {vgg}"]
