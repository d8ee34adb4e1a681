"""SDEs on a GPU: all trajectories of several noise levels advance in one kernel of Triton, float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from .torch_equations import normals_of
from .torch_steps import amplitude

if TYPE_CHECKING:
    from .torch_ import TorchRun
    from .triton_kernel import Advance

_BATCH = 1 << 18
"""Trajectories that one kernel advances: enough to fill a large GPU."""

_STEPS = 100_000
"""Steps of one kernel, so that it hears of Ctrl-C within a second."""


def in_a_kernel(run: TorchRun, device: str = "cuda") -> None:
    """SDEs on a GPU: groups of noise levels one after the other, each snapshot one launch of the kernel."""
    for levels in run.groups(_BATCH):
        state = start_of(run.spec, run.dimension, levels).to(device, torch.float32)
        advance = advance_of(run.spec, run.data, levels, device)
        states = np.empty((len(levels), len(run.snapshots), run.trajectories, run.dimension))
        at = 0
        for s, snapshot in enumerate(run.snapshots):
            while at < snapshot:
                steps = min(_STEPS, snapshot - at)
                advance(state, levels[0], at, at + steps)
                at += steps
                run.count(steps * state.shape[1])
                if run.stopped():
                    raise run.interrupted()
            # The copy waits for the kernel, so what is shown is done.
            states[:, s] = state.view(run.dimension, len(levels), run.trajectories).permute(1, 2, 0).cpu().numpy()
            run.show()
        run.save(levels, states)


def start_of(spec: dict[str, Any], dimension: int, levels: Sequence[int]) -> Tensor:
    """Where the trajectories of these noise levels start, (D, levels · N) float64 on the CPU."""
    size = (dimension, spec["trajectories"])
    starts = [normals_of(spec["seed"], level, 0).standard_normal(size) for level in levels]
    return torch.from_numpy(spec["parameters"]["init_std"] * np.concatenate(starts, axis=1))


def advance_of(spec: dict[str, Any], data: dict[str, Array], levels: Sequence[int], device: str) -> Advance:
    """The kernel for an SDE of `spec` at these noise levels."""
    from .triton_kernel import Advance  # which needs Triton

    x, y = (torch.from_numpy(data.get(name, np.empty(0))).to(device) for name in ("x", "y"))
    return Advance(
        seed=spec["seed"],
        dt=spec["dt"],
        mu=spec["parameters"].get("mu", 0.0),
        x=x,
        y=y,
        amplitude=torch.tensor([amplitude(spec, spec["noise"][k], len(x)) for k in levels], device=device),
        trajectories=spec["trajectories"],
    )
