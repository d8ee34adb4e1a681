"""Distance matrices in few bytes: their blocks, their order of values, their bound."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from numpy.typing import NDArray

from stochastic_collapse.report import matrices


def decoded(text: str, side: int) -> NDArray[np.float64]:
    """What the page draws: the (side, side) matrix of distances."""
    full = np.zeros((side, side))
    full[np.tril_indices(side)] = np.frombuffer(base64.b64decode(text), np.uint8) / 255 * matrices.LARGEST
    return np.maximum(full, full.T)


def symmetric(n: int) -> NDArray[np.float64]:
    half = np.random.default_rng(n).uniform(0, 2, (n, n))
    return (half + half.T) / 2


def test_whole_matrices_come_back_to_a_level() -> None:
    distance = symmetric(11)
    assert np.abs(decoded(matrices.encode(distance, 11), 11) - distance).max() <= 1 / 255 + 1e-12


def test_distances_beyond_orthogonal_count_as_the_largest() -> None:
    assert decoded(matrices.encode(np.full((2, 2), 4.0), 2), 2).min() == 2


@pytest.mark.parametrize(("n", "side"), [(12, 4), (13, 5), (7, 7)])
def test_blocks_are_means_over_all_of_their_neurons(n: int, side: int) -> None:
    distance = symmetric(n)
    first = [k * n // side for k in range(side)]
    blocks = [range(a, b) for a, b in zip(first, [*first[1:], n], strict=True)]
    expected = [[np.mean([distance[i, j] for i in rows for j in columns]) for columns in blocks] for rows in blocks]
    assert np.allclose(matrices.block_means(distance, side), expected)


@pytest.mark.parametrize("runs", [1, 2, 5, 40])
@pytest.mark.parametrize("checkpoints", [1, 2, 50])
def test_all_matrices_of_a_page_stay_within_the_budget(runs: int, checkpoints: int) -> None:
    layers, neurons = 15, 512
    frames = matrices.frames(range(checkpoints), runs)
    count = 2 * layers * len(frames)
    side = matrices.side(neurons, count, runs)
    assert runs * count * len(matrices.encode(np.zeros((neurons, neurons)), side)) <= matrices.BUDGET
    assert side > 30
    assert {frames[0], frames[-1]} == {0, checkpoints - 1}


def test_small_networks_lose_nothing() -> None:
    assert matrices.side(128, 2 * 2 * matrices.FRAMES, runs=2) == 128
    assert matrices.side(6, 4, runs=1) == 6


def test_checkpoints_are_spread_evenly() -> None:
    assert matrices.spread(range(0, 101, 10), 3) == [0, 50, 100]
    assert matrices.spread([5, 7], 3) == [5, 7]
