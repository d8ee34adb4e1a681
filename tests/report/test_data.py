"""What a report shows is what the run's tables and checkpoints hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stochastic_collapse.collapse import analyze_run, clustered, normalized_distance
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.errors import InputError
from stochastic_collapse.neurons import incoming_vectors, neuron_layers, outgoing_vectors
from stochastic_collapse.report import collect
from stochastic_collapse.report.data import POINTS, thinned
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.weights.files import state_of_checkpoint

from .conftest import MakeRun, compression_table
from .test_matrices import decoded


def of(run: RunDirectory) -> dict[str, Any]:
    return dict(collect([run])["runs"][0])


def test_curves_are_the_rows_of_metrics(run: RunDirectory) -> None:
    curves, metrics = of(run)["curves"], run.metrics()
    assert curves["train_loss"]["x"] == list(metrics["step"])
    assert curves["train_loss"]["y"] == pytest.approx(list(metrics["train_loss"]), rel=1e-5)
    evaluated = metrics.dropna()
    assert 0 < len(evaluated) < len(metrics)
    assert curves["score"]["x"] == list(evaluated["step"])
    assert curves["score"]["y"] == pytest.approx(list(evaluated["eval_accuracy"]), rel=1e-5)


def test_collapse_is_that_of_the_table_and_of_checkpoints_not_in_it(run: RunDirectory) -> None:
    before = (run.path / "collapse.csv").read_bytes()
    found = of(run)["collapse"]
    assert (run.path / "collapse.csv").read_bytes() == before  # a report changes no measurement
    assert found["steps"] == [0, 15, 20, 30, 40]
    analyze_run(run, "all")
    table = run.collapse().set_index(["step", "layer"])
    for column in ("neurons", "vanished", "independent", "effective_rank"):
        for step, values in zip(found["steps"], found[column], strict=True):
            assert values == pytest.approx([table.loc[(step, layer), column] for layer in found["layers"]], rel=1e-5)


def test_distances_are_in_the_order_of_the_last_checkpoint(run: RunDirectory) -> None:
    found = of(run)["distances"]
    assert found["steps"] == [15, 30, 40]

    def vectors(step: int) -> Any:
        weights = state_of_checkpoint(run.checkpoint(step))
        layer = neuron_layers("mlp", weights)[0]
        return incoming_vectors(weights, layer), outgoing_vectors(weights, layer)

    order = clustered(normalized_distance(vectors(40)[0]).numpy())
    layer = found["layers"][0]
    assert (layer["name"], layer["neurons"], layer["side"]) == ("fc1", 8, 8)
    for place, step in enumerate(found["steps"]):
        for part, w in zip(("incoming", "outgoing"), vectors(step), strict=True):
            expected = normalized_distance(w).numpy()[np.ix_(order, order)].clip(max=2)
            assert np.abs(decoded(layer[part][place], 8) - expected).max() <= 1 / 255 + 1e-9


def test_summary_and_compression(run: RunDirectory) -> None:
    found, metrics, last = of(run), run.metrics(), run.collapse().tail(2)
    summary = found["summary"]
    assert summary["score"] == pytest.approx(metrics["eval_accuracy"].iloc[-1])
    assert summary["median_score"] == pytest.approx(metrics["eval_accuracy"].dropna().tail(5).median())
    assert (summary["step"], summary["neurons"], summary["independent"]) == (40, 14, last["independent"].sum())
    names = {"accuracy_before": "score_before", "accuracy_after": "score_after"}  # so called whatever the task
    assert found["compression"] == compression_table().rename(columns=names).to_dict("records")
    assert summary["compression"] == found["compression"][1]
    assert found["notes"] == []


def test_runs_are_labelled_by_what_they_differ_in(make_run: MakeRun) -> None:
    runs = [make_run(f"optimizer.lr={lr}") for lr in (0.05, 0.01)]
    assert [one["label"] for one in collect(runs)["runs"]] == ["lr 0.01", "lr 0.05"]
    with pytest.raises(InputError, match="no run to report on"):
        collect([])


def test_thinned_curves_keep_ends_and_spikes() -> None:
    values = np.ones(100_000)
    values[[61_234, 70_001]] = 9, -9
    kept = thinned(values)
    assert len(kept) <= POINTS + 2
    assert {0, 61_234, 70_001, 99_999} <= set(kept)
    assert kept == sorted(kept)
    assert thinned(values[:POINTS]) == list(range(POINTS))


def test_what_is_not_finite_is_absent(run: RunDirectory) -> None:
    table = run.metrics()
    table.loc[2, "train_loss"], table.loc[3, "train_loss"] = np.inf, np.nan
    run.write_metrics(table)
    assert of(run)["curves"]["train_loss"]["x"] == list(table["step"].drop([2, 3]))


def test_a_run_that_has_just_begun(tiny: Callable[..., TrainConfig]) -> None:
    run = RunDirectory.of(tiny())
    run.write_config(tiny())
    run.write_status("running", 0, 0.0)
    found = of(run)
    assert found["curves"]["score"] == {"x": [], "y": []}
    assert found["collapse"]["steps"] == found["distances"]["steps"] == found["compression"] == []
    assert set(found["summary"].values()) == {None}


def test_a_run_that_another_process_is_training(run: RunDirectory) -> None:
    with run.lock():
        assert of(run)["collapse"]["steps"] == [0, 15, 20, 30, 40]


def test_a_damaged_checkpoint_is_left_out_and_named(run: RunDirectory) -> None:
    run.checkpoint(40).write_bytes(b"half a file")
    found = of(run)
    assert found["distances"]["steps"] == [15, 30]
    assert found["collapse"]["steps"] == [0, 15, 20, 30, 40]  # 40 was measured while training
    assert [note.partition(":")[0] for note in found["notes"]] == ["The checkpoint of step 40 is left out"]


def test_a_damaged_table_is_an_error(run: RunDirectory) -> None:
    (run.path / "collapse.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"collapse\.csv: expected the columns"):
        of(run)


def test_missing_tolerances_are_compressed(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stochastic_collapse.report.compressed.TOLERANCES", (0.05, 0.1, 0.2))
    run.write_compression(compression_table(step=30).iloc[[0, 1]])  # of an earlier checkpoint: does not count
    rows = of(run)["compression"]
    places = [(row["step"], row["tolerance"]) for row in rows]
    assert places == [(30, 0), (30, 0.1), (40, 0.05), (40, 0.1), (40, 0.2)]
    assert rows[3]["neurons_after"] == run.collapse().tail(2)["independent"].sum()
    assert rows[3]["score_before"] == pytest.approx(run.metrics()["eval_accuracy"].iloc[-1])
    assert rows[2:] == of(run)["compression"][2:]  # latencies too: nothing is computed again


def test_a_compression_that_cannot_be_is_a_note(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stochastic_collapse.report.compressed.TOLERANCES", (0.2,))
    with run.lock():
        found = of(run)
    (note,) = found["notes"]
    assert note.startswith("Compression was not computed: ")
    assert "another process is training" in note
    assert [row["tolerance"] for row in found["compression"]] == [0, 0.1, 0.5]


def test_facts_name_every_noise(make_run: MakeRun) -> None:
    noisy = of(make_run("loss=mse", "data.target_noise=0.5", "data.label_noise=0.25"))["facts"]
    assert {"label noise 0.25", "target noise 0.5"} < set(noisy)
    assert not [fact for fact in of(make_run())["facts"] if fact.endswith("noise 0")]
