"""What linear students have learned: singular values and losses of runs of the diagonal teacher–student."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arrays import Array
from .directory import ToyRun


def learned_values(run: ToyRun, snapshot: int) -> Array:
    """ŝ = u v at one snapshot, (K, N, M): noise levels, seeds, modes. `InputError` for a run of another problem."""
    modes = len(_of_diagonal_form(run)["s_star"])
    state = run.state[:, snapshot]
    return np.asarray(state[..., :modes] * state[..., modes:])


def losses(run: ToyRun) -> dict[str, Array]:
    """The training and the test loss, each (K, S, N). `InputError` for a run of another problem.

    Training: Σ(ŝ − s*)²/2, the part of ‖X Ŵ − Y‖²/2 that the student can change. Test: ‖Ŵ − W‖²/2 = ‖X (Ŵ − W)‖²/2,
    the error against the teacher W, which has no noise. Both are sums over all examples.
    """
    data = _of_diagonal_form(run)
    s_star, teacher = data["s_star"], np.diagonal(data["teacher"])
    beside = ((data["teacher"] ** 2).sum() - (teacher**2).sum()) / 2  # what no diagonal student can learn
    training, test = np.empty(run.state.shape[:3]), np.empty(run.state.shape[:3])
    for snapshot in range(len(run.time)):  # one at a time: all of them may be more than fits into memory
        values = learned_values(run, snapshot)
        training[:, snapshot] = ((values - s_star) ** 2).sum(axis=-1) / 2
        test[:, snapshot] = ((values - teacher) ** 2).sum(axis=-1) / 2 + beside
    return {"training": training, "test": test}


def _of_diagonal_form(run: ToyRun) -> dict[str, Array]:
    if run.spec["problem"] != "teacher-student":
        raise InputError(f"{run.directory}: is a run of {run.spec['problem']}, expected teacher-student")
    return run.data
