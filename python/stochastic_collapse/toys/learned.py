"""What students have learned: singular values and losses of linear ones, neurons and errors of nonlinear ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from ..errors import InputError
from .arrays import Array
from .directory import ToyRun
from .students import layers_of


def learned_values(run: ToyRun, snapshot: int) -> Array:
    """ŝ = u v at one snapshot, (K, N, M): noise levels, seeds, modes. `InputError` for a run of another problem."""
    modes = len(_data_of(run, "teacher-student")["s_star"])
    state = run.state[:, snapshot]
    return np.asarray(state[..., :modes] * state[..., modes:])


def losses(run: ToyRun) -> dict[str, Array]:
    """The training and the test loss, each (K, S, N). `InputError` for a run of another problem.

    Training: Σ(ŝ − s*)²/2, the part of ‖X Ŵ − Y‖²/2 that the student can change. Test: ‖Ŵ − W‖²/2 = ‖X (Ŵ − W)‖²/2,
    the error against the teacher W, which has no noise. Both are sums over all examples.
    """
    data = _data_of(run, "teacher-student")
    s_star, teacher = data["s_star"], np.diagonal(data["teacher"])
    beside = ((data["teacher"] ** 2).sum() - (teacher**2).sum()) / 2  # what no diagonal student can learn
    training, test = np.empty(run.state.shape[:3]), np.empty(run.state.shape[:3])
    for snapshot in range(len(run.time)):  # one at a time: all of them may be more than fits into memory
        values = learned_values(run, snapshot)
        training[:, snapshot] = ((values - s_star) ** 2).sum(axis=-1) / 2
        test[:, snapshot] = ((values - teacher) ** 2).sum(axis=-1) / 2 + beside
    return {"training": training, "test": test}


def errors(run: ToyRun, *, noisy: bool = False) -> dict[str, Array]:
    """Mean squared errors of the students of problem `students`, "training" and "test", each (K, S, N).

    Against the teacher's outputs; `noisy`: expected against labels y + σξ with new noise, σ² more. `InputError` for a
    run of another problem.
    """
    _data_of(run, "students")
    more = run.noise[:, None, None] ** 2 if noisy else 0.0
    return {"training": run.state[..., -2] + more, "test": run.state[..., -1] + more}


def neurons(run: ToyRun, layer: int = 0) -> Array:
    """Weights of the neurons of a hidden layer of students, (K, S, N, width, incoming + bias + outgoing).

    `layer` counts from 0. `InputError` for a run of another problem, or without this layer.
    """
    inputs = _data_of(run, "students")["x"].shape[2]
    parameters = run.spec["parameters"]
    layers = layers_of([inputs, *parameters["widths"], 1], biases=parameters["biases"])
    if not 0 <= layer < len(layers) - 1:
        raise InputError(f"{run.directory}: has no hidden layer {layer}, expected 0 to {len(layers) - 2}")
    here, above = layers[layer], layers[layer + 1]
    shape = run.state.shape[:3]
    incoming = run.state[..., here.matrix].reshape(*shape, here.outputs, here.inputs)
    bias = run.state[..., here.bias].reshape(*shape, -1, 1) if parameters["biases"] else incoming[..., :0]
    outgoing = run.state[..., above.matrix].reshape(*shape, above.outputs, above.inputs).swapaxes(-1, -2)
    return np.concatenate([incoming, bias, outgoing], axis=-1)


def independent_neurons(run: ToyRun, layer: int = 0) -> Array:
    """The number of independent neurons of a hidden layer of students, (K, S, N); see `count_independent`.

    `InputError` as for `neurons`.
    """
    import torch

    from ..collapse import count_independent

    rows = torch.from_numpy(neurons(run, layer))
    counts = [count_independent(student) for student in rows.flatten(0, 2)]
    return np.array(counts, dtype=float).reshape(run.state.shape[:3])


def before_drop(run: ToyRun) -> int:
    """The last snapshot before the learning rate falls by half or more at once; the last of all where it never does."""
    rate = run.data["rate"]
    falls = np.flatnonzero(rate[1:] <= rate[:-1] / 2)
    return int(np.searchsorted(run.time, falls[0] + 1, side="right")) - 1 if len(falls) else len(run.time) - 1


def spreads(run: ToyRun, values: Array) -> tuple[Array, Array]:
    """Standard deviations of `values` (…, N) over the students of a teacher, mean over teachers, and over teachers.

    The second is of the means of the teachers; NaN where there is one student of each, or one teacher. `InputError`
    for a run of another problem.
    """
    teachers = len(_data_of(run, "students")["x"])
    shaped = values.reshape(*values.shape[:-1], teachers, -1)
    means = shaped.mean(axis=-1)
    nothing = np.full(means.shape[:-1], np.nan)
    within = np.sqrt(shaped.var(axis=-1, ddof=1).mean(axis=-1)) if shaped.shape[-1] > 1 else nothing
    return within, means.std(axis=-1, ddof=1) if teachers > 1 else nothing


def summarize(run: ToyRun) -> pd.DataFrame:
    """What became of nonlinear students, a row for each noise level, before a drop of the rate and at the end.

    Columns: sigma; neurons_before, neurons, the mean number of independent neurons of all hidden layers together, and
    each with _students and _teachers, its two `spreads`; test_before, test, the median of the test error, and
    test_noisy, the same at the end against noisy labels. `InputError` for a run of another problem.
    """
    before = before_drop(run)
    shown = dataclasses.replace(run, state=run.state[:, [before, -1]], time=run.time[[before, -1]])
    counts = sum(independent_neurons(shown, layer) for layer in range(len(run.spec["parameters"]["widths"])))
    table = pd.DataFrame({"sigma": run.noise})
    for when, name in enumerate(("neurons_before", "neurons")):
        table[name] = np.asarray(counts)[:, when].mean(axis=-1)
        table[f"{name}_students"], table[f"{name}_teachers"] = spreads(run, np.asarray(counts)[:, when])
    for name, noisy, when in (("test_before", False, 0), ("test", False, 1), ("test_noisy", True, 1)):
        table[name] = np.median(errors(shown, noisy=noisy)["test"][:, when], axis=-1)
    return table


def _data_of(run: ToyRun, problem: str) -> dict[str, Array]:
    if run.spec["problem"] != problem:
        raise InputError(f"{run.directory}: is a run of {run.spec['problem']}, expected {problem}")
    return run.data
