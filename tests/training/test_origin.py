"""Fine-tuning: from any run's checkpoint or a file of weights, as a run of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stochastic_collapse import finetune, train, train_replicates
from stochastic_collapse.config import TrainConfig, identity, load_config
from stochastic_collapse.errors import InputError
from stochastic_collapse.provenance import located
from stochastic_collapse.runs import RunDirectory

Tiny = Callable[..., TrainConfig]
STILL = ("max_steps=1", "optimizer={name: sgd, lr: 1e-30}", "schedule.warmup_steps=0")


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return dict(torch.load(RunDirectory(run).checkpoint(step), weights_only=True)["model"])


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_starts_from_the_weights_of_that_step(tiny: Tiny) -> None:
    origin = train(tiny()).directory
    for step in (15, 40):
        tuned = finetune(tiny(f"from.run={origin}", f"from.step={step}", *STILL)).directory
        assert same(weights(tuned, 1), weights(origin, step))
    assert not same(weights(origin, 15), weights(origin, 40))


def test_without_a_step_it_starts_from_the_last(tiny: Tiny) -> None:
    origin = train(tiny()).directory
    result = finetune(tiny(f"from.run={origin}", *STILL))
    assert result.directory == finetune(tiny(f"from.run={origin}", "from.step=40", *STILL)).directory
    saved = RunDirectory(result.directory).config().origin
    assert saved is not None
    assert saved.step == 40


def test_the_origin_is_part_of_the_identity_and_its_path_is_not(tiny: Tiny, tmp_path: Path) -> None:
    origin = train(tiny()).directory
    base = identity(located(tiny(f"from.run={origin}", "from.step=15")))
    assert identity(tiny()) != base
    assert identity(located(tiny(f"from.run={origin}", "from.step=30"))) != base
    other = train(tiny("seed=4")).directory
    assert identity(located(tiny(f"from.run={other}", "from.step=15"))) != base
    moved = tmp_path / "moved"
    shutil.move(origin, moved)
    assert identity(located(tiny(f"from.run={moved}", "from.step=15"))) == base


def test_a_bare_state_dict(tiny: Tiny, tmp_path: Path) -> None:
    state = weights(train(tiny()).directory, 40)
    torch.save(state, tmp_path / "bare.pt")
    tuned = finetune(tiny(f"from.weights={tmp_path / 'bare.pt'}", *STILL))
    assert same(weights(tuned.directory, 1), state)
    shutil.copy(tmp_path / "bare.pt", tmp_path / "copy.pt")
    assert finetune(tiny(f"from.weights={tmp_path / 'copy.pt'}", *STILL)).already_finished
    torch.save({name: 2 * value for name, value in state.items()}, tmp_path / "bare.pt")
    assert not finetune(tiny(f"from.weights={tmp_path / 'bare.pt'}", *STILL)).already_finished


def test_replicates_start_from_the_same_replicates_of_an_experiment(tiny: Tiny) -> None:
    origins = [result.directory for result in train_replicates(tiny(), 2)]
    tuned = train_replicates(tiny(f"from.run={origins[0].parent}", "from.step=30", *STILL), 2)
    for origin, result in zip(origins, tuned, strict=True):
        assert same(weights(result.directory, 1), weights(origin, 30))
    assert tuned[0].directory.parent == tuned[1].directory.parent
    from_one = train_replicates(tiny(f"from.run={origins[0]}", "from.step=30", *STILL), 2)
    assert all(same(weights(result.directory, 1), weights(origins[0], 30)) for result in from_one)
    assert from_one[0].directory.parent != tuned[0].directory.parent


def test_it_sees_other_batches_than_its_origin_did(tiny: Tiny) -> None:
    """Else what was learned last would be what is unlearned first: the loss sums of the first steps differ."""
    fresh = train(tiny("max_steps=5", "checkpoint_every=0"))
    torch.save(initial_weights(tiny()), fresh.directory / "initial.pt")
    tuned = finetune(tiny(f"from.weights={fresh.directory / 'initial.pt'}", "max_steps=5", "checkpoint_every=0"))
    assert tuned.train_loss != fresh.train_loss


def initial_weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    from stochastic_collapse.data.datasets import load_dataset
    from stochastic_collapse.training.execution import resolve
    from stochastic_collapse.training.run import Run

    run = Run(config, RunDirectory(Path("unused")), load_dataset(config.data), resolve(config), print)
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def test_an_interrupted_one_continues_though_its_origin_is_gone(tiny: Tiny) -> None:
    origin = train(tiny()).directory
    settings = (f"from.run={origin}", "from.step=30")
    whole = finetune(tiny(*settings)).directory
    run = RunDirectory(whole)
    expected = weights(whole, 40)
    run.checkpoint(40).unlink()
    run.write_status("interrupted", 30, 1.0)
    shutil.rmtree(origin)
    finetune(load_config(whole / "config.yaml"))
    assert same(weights(whole, 40), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["from.run={tmp}/nowhere"], r"from.run of tiny: no run in .*nowhere, nor in .*nowhere/replicate_0"),
        (["from.run={run}", "from.step=17"], r"from.step of tiny: .*no checkpoint of step 17: there are 15, 30, 40"),
        (["from.weights={tmp}/nowhere.pt"], r"from.weights of tiny: .*nowhere.pt: No such file"),
        (
            ["from.run={run}", "model.widths=[8,7]"],
            r"step_00000040.pt \(model\) does not fit the network mlp of tiny: fc2.weight is \(6, 8\) there, "
            r"expected \(7, 8\)",
        ),
        (
            ["from.run={run}", "model.widths=[8,6,4]"],
            r"does not fit .*: the network has fc4.weight \(3, 4\), fc4.bias \(3,\), which it lacks",
        ),
        (
            ["from.run={run}", "model.widths=[8]"],
            r"does not fit .*: it has fc3.weight \(3, 6\), fc3.bias \(3,\), which the network lacks",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    tiny: Tiny, tmp_path: Path, settings: list[str], message: str
) -> None:
    origin = train(tiny()).directory
    before = sorted((tmp_path / "runs").iterdir())
    with pytest.raises(InputError, match=message) as raised:
        finetune(tiny(*(s.format(tmp=tmp_path, run=origin) for s in settings)))
    assert "\n" not in str(raised.value)
    assert sorted((tmp_path / "runs").iterdir()) == before


def test_another_file_in_the_place_of_the_origin_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    state = weights(train(tiny()).directory, 40)
    torch.save(state, tmp_path / "bare.pt")
    config = located(tiny(f"from.weights={tmp_path / 'bare.pt'}"))
    torch.save({name: 2 * value for name, value in state.items()}, tmp_path / "bare.pt")
    with pytest.raises(InputError, match=r"from.weights of tiny: .*bare.pt is now sha256:.*, and was sha256:"):
        finetune(config)


def test_the_last_step_of_an_unfinished_run_is_not_guessed(tiny: Tiny) -> None:
    origin = train(tiny()).directory
    RunDirectory(origin).write_status("interrupted", 30, 1.0)
    with pytest.raises(InputError, match=r"is not finished; say which checkpoint: there are 15, 30, 40"):
        finetune(tiny(f"from.run={origin}"))
    assert finetune(tiny(f"from.run={origin}", "from.step=30", *STILL)).steps == 1


def test_without_an_origin(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="tiny: fine-tuning needs an origin"):
        finetune(tiny())


def test_an_origin_that_became_another_run_is_refused(tiny: Tiny) -> None:
    origin = train(tiny()).directory
    config = located(tiny(f"from.run={origin}", "from.step=15"))
    shutil.rmtree(origin)
    train(tiny("seed=9"), out=origin)
    with pytest.raises(InputError, match=r"from.run of tiny: .* is now the run .*, and was"):
        finetune(config)
