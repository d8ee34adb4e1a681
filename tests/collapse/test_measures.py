"""The measures against a brute-force transcription of their definitions (docs/definitions.md#measures)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stochastic_collapse.collapse import count_independent, effective_rank, normalized_distance
from stochastic_collapse.collapse.gram import gram
from stochastic_collapse.collapse.similarity import vanished_from_gram
from stochastic_collapse.errors import InputError

Matrix = npt.NDArray[np.float64]


def brute_distance(w: Matrix) -> Matrix:
    n = len(w)
    d = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            d[i, j] = 2 * ((w[i] - w[j]) ** 2).sum() / ((w[i] ** 2).sum() + (w[j] ** 2).sum() + 1e-8)
    return d


def brute_vanished(w: Matrix) -> list[bool]:
    norms = [math.sqrt((row**2).sum()) for row in w]
    return [max(norms) == 0 or norm / max(norms) < 0.1 for norm in norms]


def brute_independent(w: Matrix) -> int:
    kept = [row for row, gone in zip(w, brute_vanished(w), strict=True) if not gone]
    d = brute_distance(np.array(kept)) if kept else np.zeros((0, 0))
    absorbed: set[int] = set()
    representatives: set[int] = set()
    for i in range(len(kept)):
        for j in range(i + 1, len(kept)):
            if d[i, j] >= 0.1 or j in absorbed:
                continue
            representatives.add(i)
            absorbed |= {i, j}
    return len(representatives) + len(kept) - len(absorbed)


def brute_effective_rank(w: Matrix) -> float:
    s = np.linalg.svd(w, compute_uv=False)
    if s.sum() == 0:
        return 0.0
    p = s[s > 1e-7 * s.max()]
    p = p / p.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


@st.composite
def layers(draw: st.DrawFn) -> Matrix:
    """Random layers in which duplicates, near-duplicates, zero rows, small rows and chains are common."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(1, 24)), draw(st.integers(1, 12))
    prototypes = rng.normal(size=(draw(st.integers(1, 6)), d))
    w = prototypes[rng.integers(len(prototypes), size=n)]
    w = w + rng.choice([0, 1e-3, 0.1, 0.3, 1.0], size=(n, 1)) * rng.normal(size=(n, d))
    return w * rng.choice([1, 1, 1, 0.3, 0.09, 0.0], size=(n, 1))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(layers())
def test_measures_equal_brute_force(w: Matrix) -> None:
    tensor = torch.from_numpy(w)
    np.testing.assert_allclose(normalized_distance(tensor), brute_distance(w), rtol=1e-9, atol=1e-9)
    assert vanished_from_gram(gram(tensor)).tolist() == brute_vanished(w)
    assert count_independent(tensor) == brute_independent(w)
    assert effective_rank(tensor) == pytest.approx(brute_effective_rank(w), rel=1e-5)


@pytest.mark.parametrize("n", [63, 64, 65, 200])
def test_measures_equal_brute_force_across_blocks(n: int) -> None:
    rng = np.random.default_rng(n)
    w = rng.normal(size=(7, 30))[rng.integers(7, size=n)] + 0.25 * rng.normal(size=(n, 30))
    assert 7 < brute_independent(w) < n
    assert count_independent(torch.from_numpy(w)) == brute_independent(w)
    np.testing.assert_allclose(normalized_distance(torch.from_numpy(w)), brute_distance(w), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "independent"),
    [
        ([[1.0, 2.0]], 1),  # n = 1
        ([[0.0, 0.0]], 0),  # all vanished
        ([[0.0, 0.0], [0.0, 0.0]], 0),
        ([[3.0, 4.0], [0.0, 0.0]], 1),
        ([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], 1),  # ties
        ([[1.0, 0.0], [-1.0, 0.0]], 2),
        ([[10.0, 0.0], [0.0, 1.0]], 2),  # exactly a tenth of the longest is not vanished
        ([[10.0, 0.0], [0.0, 0.999]], 1),
        # A chain a ~ b ~ c with a ≁ c: (a, b) absorbs both, then (b, c) makes b a representative too.
        ([[1.0, 0.0], [1.0, 0.2], [1.0, 0.4]], 2),
        # The same chain in another order: b first absorbs both ends.
        ([[1.0, 0.2], [1.0, 0.0], [1.0, 0.4]], 1),
        # 2‖a − b‖² is exactly 0.1 (‖a‖² + ‖b‖²), which the 1e-8 in the denominator puts just below the threshold.
        ([[3.0, 0.0, 1.0], [3.0, 1.0, 1.0]], 1),
    ],
)
def test_adversarial_layers(rows: list[list[float]], independent: int) -> None:
    w = np.array(rows)
    assert brute_independent(w) == independent
    assert count_independent(torch.from_numpy(w)) == independent
    assert count_independent(torch.from_numpy(w).float()) == independent


def test_effective_rank_of_known_matrices() -> None:
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.ones(300, 2000)) == pytest.approx(1, abs=1e-9)  # no rounding seen as rank
    assert effective_rank(torch.zeros(3, 4)) == 0
    assert effective_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5)  # exp of 3/2 log 2


def test_scale_and_order_do_not_matter() -> None:
    w = torch.randn(40, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert effective_rank(3 * w) == pytest.approx(effective_rank(w), rel=1e-9)
    assert effective_rank(w[torch.randperm(40)]) == pytest.approx(effective_rank(w), rel=1e-9)


def test_the_columns_may_come_in_blocks() -> None:
    w = torch.randn(70, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gram(w[:, :7], w[:, 7:8], w[:, 8:]), w.double() @ w.double().T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("w", [torch.ones(3), torch.ones(0, 3), torch.ones(2, 2, 2)])
def test_wrong_shapes_are_refused(w: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"expected an \(n, d\) matrix"):
        count_independent(w)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        effective_rank(torch.tensor([[1.0, math.nan]]))


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu() -> None:
    w = torch.randn(16, 300, generator=torch.Generator().manual_seed(0))[torch.arange(200) % 16]
    w += 0.2 * torch.randn(200, 300, generator=torch.Generator().manual_seed(1))
    assert count_independent(w.cuda()) == count_independent(w)
    assert effective_rank(w.cuda()) == pytest.approx(effective_rank(w), rel=1e-9)
