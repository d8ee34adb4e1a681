"""What each figure says, on stored results of its real quick runs: as an inequality, by `message`, and drawn.

Where the data are changed so that a figure no longer says it, `message` says so.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from stochastic_collapse.figures import (
    SHIPPED,
    batch_size,
    fig1,
    fig2,
    fig3,
    fig4,
    fig5,
    fig6,
    students,
    students_theory,
    style,
    two_neurons,
)
from stochastic_collapse.figures.messages import Message, half_way

from stochastic_collapse.theory import quartic_well_threshold

from .stored import FOLDER, read


def holds(messages: list[Message]) -> list[bool]:
    return [message.holds for message in messages]


@pytest.mark.parametrize("figure", SHIPPED)
def test_every_figure_says_what_the_papers_does(figure: str) -> None:
    messages = SHIPPED[figure].message(read(figure))
    assert messages
    assert not [message for message in messages if not message.holds]
    assert all(message.sentence.endswith(".") and message.measured for message in messages)


@pytest.mark.parametrize("figure", SHIPPED)
def test_drawing_is_pure(figure: str) -> None:
    """The same picture from the same results, which are left as they are, and nothing else is looked at."""
    results = read(figure)
    before = repr(results)
    with style.paper():
        pictures = [SHIPPED[figure].draw(results) for _ in range(2)]
        assert all(isinstance(picture, Figure) for picture in pictures)
        for picture in pictures:
            picture.set_dpi(60)
        one, other = (_pixels(picture) for picture in pictures)
    assert (one == other).all()
    assert one.std() > 5  # something is drawn
    assert repr(results) == before


def _pixels(picture: Figure) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_the_stored_results_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


def test_students_become_nearly_as_narrow_as_their_teacher_by_label_noise_alone() -> None:
    results = read("students")
    quiet, *_, loud = results.neurons[:, -1].mean(axis=-1)
    assert (results.width, results.teacher_width) == (32, 2)
    assert quiet > 29
    assert loud < 4
    before, after = np.median(results.error, axis=-1).T
    assert after[2] < after[0] / 2 < before[2]  # σ = 0.3: better than without noise, once the rate has dropped
    assert holds(students.message(results)) == [True] * 6
    without = np.broadcast_to(results.neurons[:1], results.neurons.shape)  # as if noise did nothing
    assert holds(students.message(dataclasses.replace(results, neurons=without)))[0] is False
    assert holds(students.message(dataclasses.replace(results, neurons=results.neurons[::-1])))[:2] == [False] * 2
    as_before = np.broadcast_to(results.error[:1], results.error.shape)
    assert holds(students.message(dataclasses.replace(results, error=as_before)))[2] is False
    for changed in (lambda c: 0 * c.neurons + 16, lambda c: c.neurons[:1] + c.by_labels - c.neurons[:1].mean()):
        controls = [dataclasses.replace(control, neurons=changed(control)) for control in results.controls[:2]]
        assert holds(students.message(dataclasses.replace(results, controls=controls)))[3:] == [False] * 2
    more_left = [dataclasses.replace(control, neurons=control.neurons + 5) for control in results.controls[2:]]
    assert holds(students.message(dataclasses.replace(results, controls=more_left)))[3:] == [False]


def test_students_theory_rates_slopes_and_one_clock() -> None:
    results = read("students-theory")
    measured, predicted = results.rates.T
    assert measured == pytest.approx(predicted, abs=0.08)
    assert np.corrcoef(measured, predicted)[0, 1] > 0.9
    ratio, slope = results.slopes.T
    assert slope[ratio < 0.95] == pytest.approx(1 - ratio[ratio < 0.95], abs=0.08)
    assert np.abs(slope[ratio > 1.2]).max() < 1e-3
    assert holds(students_theory.message(results)) == [True] * 3
    shuffled = np.random.default_rng(0).permuted(results.rates, axis=0)
    late = [dataclasses.replace(clock, time=clock.time * clock.sigma) for clock in results.clocks]
    for part, changed in (("rates", shuffled), ("slopes", results.slopes * [2, 1]), ("clocks", late)):
        wrong = students_theory.message(dataclasses.replace(results, **{part: changed}))
        assert holds(wrong).count(False) == 1, part


def test_fig1_collapse_sets_in_at_the_threshold() -> None:
    results = read("fig1")
    strength = results.swept / quartic_well_threshold(1.5)
    assert results.collapsed[strength < 0.9, -1].max() < 0.05
    assert results.collapsed[strength > 1.15, -1].min() > 0.95
    assert (np.diff(results.collapsed[strength > 1.15], axis=1) >= 0).all()  # nothing comes back from there
    assert holds(fig1.message(dataclasses.replace(results, mu=1.0))) == [False, False]


def test_fig1_spreads_until_it_collapses() -> None:
    results = read("fig1")
    late = np.abs(results.theta[:, len(results.time) // 2 :])
    assert late[0].std() < late[1].std() / 2
    assert np.median(late[2]) < 1e-3 < np.median(late[1])


def test_fig2_the_origin_attracts_from_the_threshold_on() -> None:
    results = read("fig2")
    strength = results.strength / results.threshold
    assert results.collapsed[strength < 0.75, -1].max() < 0.1
    assert results.collapsed[strength > 1.25, -1].min() > 0.9
    assert holds(fig2.message(dataclasses.replace(results, threshold=0.8))) == [False, False]


def test_fig3_equal_incoming_weights_go_with_equal_outgoing_ones() -> None:
    (network,) = results = read("fig3")
    for layer in network.layers:
        above = np.triu(np.ones_like(layer.incoming, bool), 1)
        alike = layer.incoming[above] < 0.1
        assert alike.sum() >= 20
        assert layer.outgoing[above][alike].mean() < 0.1 < layer.outgoing[above][~alike].mean() / 10
    shuffled = np.random.default_rng(0).permutation(128)
    layers = tuple(
        dataclasses.replace(layer, outgoing=layer.outgoing[np.ix_(shuffled, shuffled)]) for layer in network.layers
    )
    assert holds(fig3.message([dataclasses.replace(network, layers=layers)])) == [False]
    apart = tuple(dataclasses.replace(layer, incoming=layer.incoming + 1) for layer in network.layers)
    assert holds(fig3.message([dataclasses.replace(results[0], layers=apart)])) == [False]


def _mean(results: Any, setting: str, value: float) -> float:
    table = results.table
    rows = table[(table["setting"] == setting) & np.isclose(table["value"], value)]
    return float(rows["fraction_independent"].mean())


def test_fig4_large_learning_rates_and_label_noise_leave_fewer_neurons_and_their_twins_all() -> None:
    results = read("fig4")
    alone = dataclasses.replace(results, table=results.table[results.table["twin"] == ""])
    assert _mean(alone, "optimizer.lr", 0.3) < _mean(alone, "optimizer.lr", 0.05) - 0.2
    assert _mean(alone, "data.target_noise", 0.6) < _mean(alone, "data.target_noise", 0) - 0.2
    assert results.table.loc[results.table["twin"] == "no-noise", "fraction_independent"].min() > 0.9
    assert holds(fig4.message(results)) == [True] * 4
    upside_down = results.table.assign(value=-results.table["value"])
    assert holds(fig4.message(dataclasses.replace(results, table=upside_down)))[::2] == [False, False]
    swapped = results.table.assign(twin=results.table["twin"].map({"": "no-noise", "no-noise": ""}))
    assert holds(fig4.message(dataclasses.replace(results, table=swapped))) == [False] * 4


def test_small_batches_leave_fewer_neurons() -> None:
    results = read("batch-size")
    assert _mean(results, "batch_size", 16) < _mean(results, "batch_size", 128) - 0.1
    upside_down = results.table.assign(value=-results.table["value"])
    assert holds(batch_size.message(dataclasses.replace(results, table=upside_down))) == [False]


def test_fig5_noise_forgets_small_modes_and_shrinks_large_ones() -> None:
    results = read("fig5")
    training, test = (results.losses[name][0] for name in ("training", "test"))
    assert (np.diff(training[:, results.steps == results.before.step], axis=0) > 0).all()
    assert (np.diff(test[:, -1]) < 0).all()
    dead = results.s_star < results.thresholds[-1]
    assert results.after.mean[-1][dead].mean() < 0.1 * results.after.mean[0][dead].mean()
    shrunk = (results.s_star - results.before.mean)[2, results.s_star > 1.5 * results.thresholds[2]].mean()
    assert shrunk == pytest.approx(results.thresholds[2], rel=0.15)
    without = dataclasses.replace(results.after, mean=results.after.mean[::-1])
    assert holds(fig5.message(dataclasses.replace(results, after=without)))[2:] == [False, False]
    losses = {name: (mean[::-1], error) for name, (mean, error) in results.losses.items()}
    assert holds(fig5.message(dataclasses.replace(results, losses=losses)))[:2] == [False, False]


def test_fig6_late_drops_are_collapsed_and_better_also_than_a_control_of_as_many_steps() -> None:
    (network,) = read("fig6")
    accuracy, collapse = network.accuracy, network.collapse
    fraction = collapse.groupby("step")["fraction_independent"].mean()
    assert fraction[2000] > fraction[8000] > fraction[24000] + 0.1
    after = accuracy[accuracy["length"] == 2000].pivot(index="replicate", columns="drop", values="after")
    assert len(after) == 24
    control = accuracy[accuracy["length"] == 24000].set_index("replicate")["after"]
    for other in (after[2000], control):
        gain = after[24000] - other
        assert gain.mean() > 3 * gain.sem()
    first_last = accuracy.assign(drop=accuracy["drop"].map({2000: 24000, 8000: 8000, 24000: 2000}))
    swapped = dataclasses.replace(
        network, accuracy=first_last[first_last["length"] == 2000], collapse=collapse.assign(step=-collapse["step"])
    )
    assert holds(fig6.message([swapped])) == [False, False]
    better = accuracy.assign(after=accuracy["after"] + 0.01 * (accuracy["length"] == 24000))
    assert holds(fig6.message([dataclasses.replace(network, accuracy=better)])) == [True, True, False]


def test_fig6_of_what_is_not_finished_says_nothing() -> None:
    (network,) = read("fig6")
    assert fig6.message([dataclasses.replace(network, accuracy=network.accuracy[:0])]) == []


def test_two_neurons_merge_where_there_is_noise() -> None:
    results = read("two-neurons")
    last = two_neurons.mean_distance(results)[:, -1]
    for levels in (results.of_rates, results.of_noise):
        assert (np.diff(last[levels]) <= 0).all()
        assert last[levels[-1]] < 1e-6 * last[levels[0]]
    assert results.distance[results.noise == 0, -1].min() > 0.1
    assert holds(two_neurons.message(dataclasses.replace(results, distance=results.distance[:, ::-1]))) == [
        False,
        False,
        True,
    ]
    assert holds(two_neurons.message(dataclasses.replace(results, distance=0 * results.distance)))[2] is False


def test_half_way() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert half_way(x, np.array([0, 0.25, 0.75, 1])) == 1.5
    assert half_way(x, np.array([0.6, 0.25, 0.75, 1])) == 0
    assert np.isnan(half_way(x, np.zeros(4)))


def test_the_tables_read_back_are_tables() -> None:
    assert isinstance(read("fig4").table, pd.DataFrame)
