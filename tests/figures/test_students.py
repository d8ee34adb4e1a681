"""The figures of students, and the tables behind them, from small made-up runs: what is drawn is what the runs say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stochastic_collapse.figures import draw_named, students, students_theory, style

from stochastic_collapse import ToyRun
from stochastic_collapse.collapse import count_independent
from stochastic_collapse.errors import InputError
from stochastic_collapse.toys import before_drop, independent_neurons, spreads, summarize

TIMES = np.array([0.0, 10.0, 20.0, 30.0])
RATE = np.repeat([1.0, 0.1], [20, 10])


def rows_of(counts: Any, width: int = 4, inputs: int = 2) -> np.ndarray:
    """Neurons of which the first `counts` (K, S, N) point in ways of their own, and the others are copies of one."""
    angles = np.linspace(0, np.pi, width)
    own = np.stack([np.cos(angles), np.sin(angles), *np.zeros((inputs - 2, width)), np.ones(width)], axis=-1)
    kept = np.arange(width) < np.asarray(counts)[..., None]
    return np.where(kept[..., None], own, own[0])


def run(rows: np.ndarray, noise: list[float], test: Any = 0.5, teachers: int = 2, **parameters: Any) -> ToyRun:
    """Of students whose neurons are `rows` (K, S, N, width, inputs + 1)."""
    *shape, width, numbers = rows.shape
    spec = {
        "problem": "students",
        "parameters": {"widths": [width], "biases": False, "gradient_noise": "label", "weight_decay": 0.0,
                       "activation": "gelu", "momentum": 0.0, "batch": 5} | parameters,
        "lr": [0.1] * len(noise),
        "trajectories": shape[2],
    }  # fmt: skip
    weights = [rows[..., :-1].reshape(*shape, -1), rows[..., -1]]
    errors = [np.zeros((*shape, 1)), np.broadcast_to(np.asarray(test, float), shape)[..., None]]
    data = {
        "x": np.ones((teachers, 5, numbers - 1)),
        "y": np.zeros((teachers, 5)),
        "teacher": np.ones((teachers, 1, numbers)),
        "rate": RATE,
    }
    state = np.concatenate([*weights, *errors], axis=-1)
    return ToyRun(Path("students"), spec, {}, TIMES[: shape[1]], np.array(noise), state, data)


COUNTS = np.array([[[4, 4, 4, 4]] * 4, [[4, 4, 4, 4], [4, 3, 4, 2], [1, 2, 2, 3], [1, 2, 1, 1]]])  # (K, S, N)
TEST = np.arange(32.0).reshape(2, 4, 4) + 1


def test_independent_neurons_are_those_of_each_student() -> None:
    rng = np.random.default_rng(0)
    rows = rng.choice([0.0, 1.0], size=(2, 4, 4, 6, 3)) + 0.1 * rng.standard_normal((2, 4, 4, 6, 3))
    found = independent_neurons(run(rows, [0, 1]))
    for place in np.ndindex(2, 4, 4):
        assert found[place] == count_independent(torch.from_numpy(rows[place]))
    assert len(np.unique(found)) > 2
    assert np.array_equal(independent_neurons(run(rows_of(COUNTS), [0, 1])), COUNTS)


@pytest.mark.parametrize(
    ("rate", "last"),
    [(RATE, 2), (np.ones(30), 3), (np.repeat([1.0, 0.9, 0.3], [5, 10, 15]), 1), (np.linspace(1, 0.7, 30), 3)],
)
def test_before_drop_is_the_last_snapshot_at_the_full_rate(rate: np.ndarray, last: int) -> None:
    of = run(rows_of(COUNTS), [0, 1])
    assert before_drop(dataclasses.replace(of, data={**of.data, "rate": rate})) == last


def test_spreads_are_over_students_of_a_teacher_and_over_teachers() -> None:
    values = np.random.default_rng(1).standard_normal((3, 6))
    within, between = spreads(run(rows_of(np.ones((3, 2, 6))), [0, 1, 2], teachers=2), values)
    for k, row in enumerate(values):
        one, other = row[:3], row[3:]  # trajectories are the teachers' in order
        assert within[k] == pytest.approx(np.sqrt((np.var(one, ddof=1) + np.var(other, ddof=1)) / 2))
        assert between[k] == pytest.approx(abs(one.mean() - other.mean()) / np.sqrt(2))
    within, between = spreads(run(rows_of(np.ones((3, 2, 6))), [0, 1, 2], teachers=6), values)
    assert np.isnan(within).all()
    assert between == pytest.approx(values.std(axis=1, ddof=1))
    assert np.isnan(spreads(run(rows_of(np.ones((3, 2, 6))), [0, 1, 2], teachers=1), values)[1]).all()


def test_the_summary_is_of_before_the_drop_and_of_the_end() -> None:
    quiet, loud = summarize(run(rows_of(COUNTS), [0, 2], TEST)).to_dict("records")
    assert (quiet["neurons_before"], quiet["neurons"]) == (4, 4)
    assert (loud["neurons_before"], loud["neurons"]) == (2, 1.25)
    assert loud["neurons_students"] == pytest.approx(0.5)  # variances 1/2 and 0
    assert loud["neurons_teachers"] == pytest.approx(np.std([1.5, 1], ddof=1))
    assert (loud["test_before"], loud["test"]) == (np.median(TEST[1, 2]), np.median(TEST[1, 3]))
    assert loud["test_noisy"] == loud["test"] + 4


def test_what_is_drawn() -> None:
    main = run(rows_of(COUNTS, inputs=3), [0, 2], TEST)
    decay = run(rows_of(COUNTS[1:], inputs=3), [0], weight_decay=0.01)
    isotropic = run(rows_of(COUNTS[:1], inputs=3), [2], gradient_noise="isotropic")
    plane = run(rows_of(COUNTS), [0, 2])
    results = students.load([plane, main, decay, isotropic])
    with style.paper():
        figure = students.draw(results)
    counts, errors, controls, *planes = figure.axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in counts.get_lines()}
    assert lines["σ = 2"] == pytest.approx(COUNTS[1].mean(axis=-1))
    assert lines["teacher"].tolist() == [1, 1]
    medians = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in errors.get_lines()}
    assert medians["before the drop"] == pytest.approx(np.median(TEST[:, 2], axis=-1))
    assert medians["after it"] == pytest.approx(np.median(TEST[:, 3], axis=-1))
    assert [label.get_text() for label in controls.get_yticklabels()] == [
        "isotropic noise\nσ = 2",
        "weight decay 0.01\nσ = 0",
        "label noise\nσ = 2",
        "no noise",
    ]
    assert results.controls[1].by_labels == pytest.approx(COUNTS[1, -1].mean())
    assert [panel.get_title(loc="left") for panel in planes] == ["σ = 0", "σ = 2"]
    assert results.planes[1].angle[-1] == pytest.approx(0)
    assert results.planes[0].teacher == pytest.approx(np.pi / 4)


def test_without_a_plane_controls_or_a_quiet_level_the_rest_is_drawn() -> None:
    results = students.load([run(rows_of(COUNTS[1:], inputs=3), [2], TEST[1:])])
    assert not results.planes
    assert len(students.message(results)) == 1
    with style.paper():
        assert len(students.draw(results).axes) == 3


@pytest.mark.parametrize("figure", ["students", "students-theory"])
def test_what_cannot_be_drawn_is_one_line(figure: str) -> None:
    load = {"students": students.load, "students-theory": students_theory.load}[figure]
    other = ToyRun(Path("well"), {"problem": "quartic-well", "parameters": {}}, {}, TIMES, TIMES, np.zeros(4), {})
    decay = run(rows_of(COUNTS), [0, 2], weight_decay=0.01)
    for runs, found in (([], "none"), ([other], "well"), ([decay], "students"), ([other, decay], "well, students")):
        with pytest.raises(InputError, match=f"figure {figure} is drawn from runs .*, found {found}$") as mistake:
            load(runs)
        assert "\n" not in str(mistake.value)
    with pytest.raises(InputError, match="runs/nothing: no toy run here"):
        draw_named([figure, "runs/nothing"])


def test_theory_needs_noise_levels_or_slopes() -> None:
    flat = run(np.zeros((2, 4, 4, 3, 2)), [0, 1], activation="relu")
    steady = dataclasses.replace(flat, data={**flat.data, "teacher": np.zeros((2, 1, 2))})
    with pytest.raises(InputError, match=r"figure students-theory is drawn from runs .*, found students$"):
        students_theory.load([run(rows_of(COUNTS), [0, 2])])  # two levels make no curve
    with pytest.raises(InputError, match=r"figure students-theory is drawn from runs .*, found students$"):
        students_theory.load([steady])  # a teacher without slopes
