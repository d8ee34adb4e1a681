"""The steps of the toy problems on a GPU: one kernel keeps a trajectory in registers from one snapshot to the next.

It computes the neuron's sums straight from the data, in float32. A table would not pay here: Figure 2 has three
trajectories for every lane of an H100, each 100,000 steps in a row, so that a second leaves 17,000 cycles for a step;
the direct one takes some 1,400 instructions, needs no memory beyond the data, and has no end of a table. Steps may
differ from the CPU's by 2e-6, far below what an ensemble can resolve. A trajectory that falls below 1e-38 is at 0.

Random numbers are Philox 4 × 32 (Salmon et al. 2011) of the counter (trajectory, step, level), with the seed as key:
nothing to store, and the same whatever is simulated together.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, untyped-decorator"
# Triton has no types, and reads a kernel's annotations as its own.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128
"""Trajectories of one program, one a thread."""

UNROLL = 8
"""Data points that the loop over them takes at once."""


@triton.jit
def _tanh(u):
    """Lambert's continued fraction of tanh u, cut after 19; with |u| ≤ 7 right to 2e-6, near 0 relative to itself."""
    u = tl.minimum(tl.maximum(u, -7.0), 7.0)
    q = u * u
    above = 654729075.0 + q * (91891800.0 + q * (2837835.0 + q * (25740.0 + q * 55.0)))
    below = 654729075.0 + q * (310134825.0 + q * (18918900.0 + q * (315315.0 + q * (1485.0 + q))))
    return u * (above / below)


@triton.jit(do_not_specialize=["seed", "first_level", "trajectories", "first", "last"])
def _advance(
    state,  # (D, total) float32, updated
    amplitude,  # (levels,) float32: of a step's normals
    x,  # (POINTS,) float32, as y; zeros beyond the data
    y,
    seed,
    first_level,
    trajectories,  # of a level; level j of this launch has the lanes from j·trajectories on
    total,
    first,  # steps first … last − 1
    last,
    drift,  # dt/m of the neuron, dt of the well
    mu,
    NEURON: tl.constexpr,
    POINTS: tl.constexpr,
    UNROLLED: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    there = lane < total
    level = lane // trajectories
    trajectory = lane - level * trajectories
    times = tl.load(amplitude + level, mask=there, other=0.0)
    w1 = tl.load(state + lane, mask=there, other=0.0)
    if NEURON:
        w2 = tl.load(state + total + lane, mask=there, other=0.0)
    for step in range(first, last):
        r1, r2, _, _ = tl.philox(seed, trajectory, lane * 0 + step, level + first_level, lane * 0)
        n1, n2 = tl.pair_uniform_to_normal(tl.uint_to_uniform_float(r1), tl.uint_to_uniform_float(r2))
        n1 *= times
        n2 *= times
        if NEURON:
            ys = tl.zeros((LANES,), tl.float32)
            yt = tl.zeros((LANES,), tl.float32)
            ts = tl.zeros((LANES,), tl.float32)
            tt = tl.zeros((LANES,), tl.float32)
            ss = tl.zeros((LANES,), tl.float32)
            for start in range(0, POINTS, UNROLLED):
                for k in tl.static_range(UNROLLED):
                    xi = tl.load(x + start + k)
                    yi = tl.load(y + start + k)
                    t = _tanh(w1 * xi)
                    s = xi - xi * t * t
                    ys += yi * s
                    yt += yi * t
                    ts += t * s
                    tt += t * t
                    ss += s * s
            l11 = tl.sqrt(ss)
            l21 = ts / tl.maximum(l11, 1e-30)
            l22 = tl.sqrt(tl.maximum(tt - l21 * l21, 0.0))
            dw1 = w2 * (drift * (ys - w2 * ts) + l11 * n1)
            w2 += drift * (yt - w2 * tt) + l21 * n1 + l22 * n2
            w1 += dw1
        else:
            w1 += w1 * (drift * (mu - w1 * w1) + n1)
    tl.store(state + lane, w1, mask=there)
    if NEURON:
        tl.store(state + total + lane, w2, mask=there)


class Advance:
    """Advances the trajectories of some noise levels of one problem on a device."""

    def __init__(
        self, *, seed: int, dt: float, mu: float, x: Tensor, y: Tensor, amplitude: Tensor, trajectories: int
    ) -> None:
        """`x`, `y`: the neuron's data, (m,), empty for the well; `amplitude`: of the normals, (levels,)."""
        points = len(x)
        padding = -points % UNROLL  # points at x = 0 add nothing to the sums
        self.x, self.y = (torch.nn.functional.pad(v.float(), (0, padding)) for v in (x, y))
        self.amplitude, self.trajectories, self.seed, self.mu = amplitude.float(), trajectories, seed, mu
        self.neuron, self.drift = points > 0, dt / max(1, points)

    def __call__(self, state: Tensor, first_level: int, first: int, last: int) -> None:
        """Take steps first … last − 1 of `state`, (D, levels · trajectories) float32, in place."""
        total = state.shape[1]
        _advance[(triton.cdiv(total, BLOCK),)](
            state, self.amplitude, self.x, self.y, self.seed, first_level, self.trajectories, total, first, last,
            self.drift, self.mu, NEURON=self.neuron, POINTS=len(self.x), UNROLLED=UNROLL, LANES=BLOCK,
            enable_fp_fusion=True,
        )  # fmt: skip
