"""The protocol of an engine in a process of its own, with a program that pretends to be Julia and can misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stochastic_collapse import ToyConfig, load_toy, simulate_toy
from stochastic_collapse.errors import EngineFailed, EngineUnavailable, InputError, Interrupted, RunLocked
from stochastic_collapse.toys import ToyDirectory
from stochastic_collapse.toys.engines import JuliaEngine, Progress, child

from .helpers import is_alive, wait_for

Make = Callable[..., ToyConfig]
Misbehave = Callable[[str], None]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Misbehave:
    return lambda how: monkeypatch.setenv("FAKE", how)


def engine_pid(directory: Path) -> int:
    return int((directory / "pid").read_text())


def has_level(directory: Path) -> Callable[[], bool]:
    return (directory / "levels/level_00000.npy").exists


def test_a_run_from_start_to_end(neuron: Make, fake_julia: Path) -> None:
    news: list[str] = []
    run = simulate_toy(neuron(), "julia", julia=fake_julia, report=news.append)
    assert run.state.shape == (3, 3, 6, 2)
    assert np.array_equal(run.state[2, :, 0, 0], [2000, 2001, 2002])
    assert run.provenance["engine"] == "julia"
    assert run.provenance["chosen"] == "asked for by name"
    assert news[0] == f"engine julia (Julia 1.11.0 at {fake_julia}); asked for by name"
    assert news[1:] == ["StochasticCollapse: this is for the user"]
    left = {path.name for path in run.directory.iterdir()} - {".lock", ".engine.lock", "pid"}
    assert left == {
        *("spec.toml", "x.npy", "y.npy"),
        *("time.npy", "noise.npy", "state.npy", "provenance.toml"),
    }


def test_a_finished_run_is_not_simulated_again(neuron: Make, fake_julia: Path) -> None:
    first = simulate_toy(neuron(), "julia", julia=fake_julia)
    news: list[str] = []
    again = simulate_toy(neuron(), "torch", report=news.append)
    assert again.directory == first.directory
    assert news == [f"{first.directory}: already finished, by the engine julia"]


def test_progress_is_passed_on(neuron: Make, fake_julia: Path) -> None:
    directory = ToyDirectory.of(neuron())
    directory.prepare(neuron())
    heard: list[Progress] = []
    JuliaEngine(fake_julia).run(directory, heard.append, lambda line: None)
    assert heard == [Progress(k, 3, 10 * k, 30) for k in range(3)]


def test_lines_that_are_no_events_do_no_harm(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("garbage")
    assert simulate_toy(neuron(), "julia", julia=fake_julia).state.shape == (3, 3, 6, 2)


def test_a_bad_spec_is_the_users_mistake(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("error")
    with pytest.raises(InputError) as caught:
        simulate_toy(neuron(), "julia", julia=fake_julia)
    assert str(caught.value) == "engine julia: spec.toml: dt = -1, expected a number > 0"
    assert "Stacktrace" in str(caught.value.__cause__)  # what --verbose shows


def test_another_error_is_one_line_and_keeps_levels(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("failure")
    with pytest.raises(EngineFailed, match=r"engine julia: cannot write$"):
        simulate_toy(neuron(), "julia", julia=fake_julia)
    assert ToyDirectory.of(neuron()).levels_done() == 1
    with pytest.raises(InputError, match=r"not finished \(1 of 3 noise levels\); the command that began it continues"):
        load_toy(ToyDirectory.of(neuron()).path)
    misbehave("")
    news: list[str] = []
    simulate_toy(neuron(), "julia", julia=fake_julia, report=news.append)
    assert any("continues after 1 noise levels" in line for line in news)


def test_a_child_that_dies_is_reported(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("dies")
    with pytest.raises(EngineFailed, match=r"broke off \(ended by signal 9\), 1 noise levels are finished; the same"):
        simulate_toy(neuron(), "julia", julia=fake_julia)


def test_a_child_that_does_not_start_is_unavailable(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("does not start")
    with pytest.raises(EngineUnavailable) as caught:
        simulate_toy(neuron(), "julia", julia=fake_julia)
    assert str(caught.value) == "engine julia does not start: ERROR: LoadError: no such package"


def test_auto_goes_on_where_an_engine_does_not_start(
    neuron: Make, fake_julia: Path, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    misbehave("does not start")
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "/no/julia")  # juliacall is out of the way
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    run = simulate_toy(neuron(), julia=fake_julia)
    assert run.provenance["engine"] == "torch"
    assert "engine julia does not start: ERROR: LoadError" in run.provenance["chosen"]
    assert "engine juliacall: of PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT only one" in run.provenance["chosen"]


def test_levels_of_other_random_numbers_are_not_mixed_in(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("failure")
    with pytest.raises(EngineFailed):
        simulate_toy(neuron(), "julia", julia=fake_julia)
    news: list[str] = []
    run = simulate_toy(neuron(), "torch", report=news.append)
    assert any("starts anew: 1 noise levels were of another engine's random numbers" in line for line in news)
    assert np.abs(run.state).max() < 10


# --- stopping -------------------------------------------------------------------------------------------------------


def test_a_stop_file_of_the_users_interrupts(neuron: Make, fake_julia: Path, misbehave: Misbehave) -> None:
    misbehave("waits for stop")
    directory = ToyDirectory.of(neuron())
    directory.prepare(neuron())

    def touch(progress: Progress) -> None:
        if progress.levels_done == 1:
            (directory.path / "stop").touch()

    with pytest.raises(Interrupted, match="interrupted, 1 noise levels are finished; the same command continues"):
        JuliaEngine(fake_julia).run(directory, touch, lambda line: None)
    assert not (directory.path / "stop").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_the_child_stops_and_the_next_call_continues(
    number: signal.Signals, neuron: Make, fake_julia: Path, misbehave: Misbehave, start_sc: Start
) -> None:
    misbehave("waits for stop")
    directory = ToyDirectory.of(neuron()).path
    sc = start_sc(neuron(), "--engine", "julia", "--julia", fake_julia)
    wait_for(has_level(directory))
    sc.send_signal(number)
    _, err = sc.communicate(timeout=15)
    assert sc.returncode == 130
    assert err.splitlines()[-1] == (
        f"sc: {directory}: interrupted, 1 noise levels are finished; the same command continues"
    )
    assert not is_alive(engine_pid(directory))
    assert not (directory / "stop").exists()
    misbehave("")
    assert simulate_toy(neuron(), "julia", julia=fake_julia).state.shape == (3, 3, 6, 2)


def test_a_child_that_ignores_the_wish_is_killed(
    neuron: Make, fake_julia: Path, misbehave: Misbehave, start_sc: Start
) -> None:
    misbehave("ignores stop")
    directory = ToyDirectory.of(neuron()).path
    sc = start_sc(neuron(), "--engine", "julia", "--julia", fake_julia, grace=1)
    wait_for(has_level(directory))
    sc.send_signal(signal.SIGINT)
    sc.communicate(timeout=5)
    assert sc.returncode == 130
    assert not is_alive(engine_pid(directory))


def test_a_second_ctrl_c_kills_at_once(neuron: Make, fake_julia: Path, misbehave: Misbehave, start_sc: Start) -> None:
    misbehave("ignores stop")
    directory = ToyDirectory.of(neuron()).path
    sc = start_sc(neuron(), "--engine", "julia", "--julia", fake_julia, grace=60)
    wait_for(has_level(directory))
    sc.send_signal(signal.SIGINT)
    wait_for((directory / "stop").exists)
    sc.send_signal(signal.SIGINT)
    sc.communicate(timeout=5)
    assert sc.returncode == 130
    assert not is_alive(engine_pid(directory))


def test_no_child_outlives_a_parent_that_is_killed(
    neuron: Make, fake_julia: Path, misbehave: Misbehave, start_sc: Start
) -> None:
    misbehave("ignores stop")
    directory = ToyDirectory.of(neuron()).path
    sc = start_sc(neuron(), "--engine", "julia", "--julia", fake_julia, grace=1)
    wait_for(has_level(directory))
    old = engine_pid(directory)
    sc.kill()
    sc.wait()
    misbehave("")
    run = simulate_toy(neuron(), "julia", julia=fake_julia)  # at once: it waits until the old child is gone
    assert run.state.shape == (3, 3, 6, 2)
    assert not is_alive(old)


def test_two_processes_do_not_share_a_directory(
    neuron: Make, fake_julia: Path, misbehave: Misbehave, start_sc: Start
) -> None:
    misbehave("waits for stop")
    directory = ToyDirectory.of(neuron()).path
    sc = start_sc(neuron(), "--engine", "julia", "--julia", fake_julia)
    wait_for(has_level(directory))
    with pytest.raises(RunLocked, match="another process simulates in this directory"):
        simulate_toy(neuron(), "torch")
    assert sc.poll() is None
    sc.send_signal(signal.SIGTERM)
    sc.communicate(timeout=15)


def test_a_guard_that_is_killed_leaves_no_child(
    neuron: Make, fake_julia: Path, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    misbehave("waits for stop")
    monkeypatch.setattr(child, "GRACE", 1.0)
    directory = ToyDirectory.of(neuron())
    directory.prepare(neuron())

    def kill_guard(progress: Progress) -> None:
        if progress.levels_done == 1:
            pid = engine_pid(directory.path)
            guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(guard, signal.SIGKILL)
            os.kill(pid, signal.SIGTERM)  # closes its stdout, which ends our wait

    with pytest.raises(EngineFailed, match="broke off"):
        JuliaEngine(fake_julia).run(directory, kill_guard, lambda line: None)
    wait_for(lambda: not is_alive(engine_pid(directory.path)))


def test_a_julia_run_needs_no_torch(neuron: Make, fake_julia: Path) -> None:
    overrides = [f"{key}={value}" for key, value in neuron().model_dump(mode="json").items()]
    script = (
        "import sys; from stochastic_collapse.cli import run; status = run(sys.argv[1:]); "
        "loaded = {'torch', 'juliacall', 'juliapkg'} & set(sys.modules); sys.exit(f'{status} {loaded}')"
    )
    arguments = ["simulate-toy", "single-neuron", *overrides, "--engine", "julia", "--julia", str(fake_julia)]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0 set()"
