"""Which engine runs, and what is said of those that cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stochastic_collapse import ToyConfig, simulate_toy
from stochastic_collapse.doctor import examine
from stochastic_collapse.errors import EngineUnavailable, InputError
from stochastic_collapse.toys import ToyDirectory
from stochastic_collapse.toys.engines import Availability, JuliaCallEngine, JuliaEngine, TorchEngine

Make = Callable[..., ToyConfig]


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make only the named engines available; the list returned fills with those that ran."""

    def only(*names: str) -> list[str]:
        ran: list[str] = []
        for kind in (JuliaCallEngine, JuliaEngine, TorchEngine):
            name = kind().name

            def availability(self: Any, name: str = name) -> Availability:
                return Availability(name in names, f"{name} {'is' if name in names else 'is not'} here", "get it")

            def run(self: Any, directory: ToyDirectory, *rest: Any, name: str = name) -> None:
                ran.append(name)
                raise InputError("far enough")

            monkeypatch.setattr(kind, "availability", availability)
            monkeypatch.setattr(kind, "run", run)
        return ran

    return only


@pytest.mark.parametrize(
    ("here", "taken", "missing"),
    [
        (["juliacall", "julia", "torch"], "juliacall", []),
        (["julia", "torch"], "julia", ["juliacall"]),
        (["torch"], "torch", ["juliacall", "julia"]),
    ],
)
def test_auto_takes_the_first_and_says_why(
    here: list[str], taken: str, missing: list[str], have: Callable[..., list[str]], neuron: Make
) -> None:
    ran, news = have(*here), list[str]()
    with pytest.raises(InputError, match="far enough"):
        simulate_toy(neuron(), report=news.append)
    assert ran == [taken]
    why = "; ".join(["auto: the first that is available", *(f"engine {m}: {m} is not here" for m in missing)])
    assert news == [f"engine {taken} ({taken} is here); {why}"]


def test_asked_for_by_name_and_not_there(have: Callable[..., list[str]], neuron: Make) -> None:
    ran = have("torch")
    with pytest.raises(EngineUnavailable) as caught:
        simulate_toy(neuron(), "julia")
    assert str(caught.value) == "engine julia: julia is not here; get it"
    assert caught.value.exit_code == 2
    assert ran == []


def test_none_at_all(have: Callable[..., list[str]], neuron: Make) -> None:
    have()
    with pytest.raises(EngineUnavailable) as caught:
        simulate_toy(neuron())
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "engine juliacall",
        "engine julia",
        "engine torch",
    ]


def test_unknown_engine(neuron: Make) -> None:
    with pytest.raises(InputError, match="engine: expected auto, juliacall, julia, torch, found 'fortran'"):
        simulate_toy(neuron(), "fortran")
    assert not ToyDirectory.of(neuron()).path.exists()


def test_torch_knows_its_activations(neuron: Make) -> None:
    with pytest.raises(InputError, match="engine torch: activation 'sine' is not among tanh; use a Julia engine"):
        simulate_toy(neuron("problem.activation=sine"), "torch")


# --- the engine julia -----------------------------------------------------------------------------------------------


def test_julia_is_found_in_three_places(fake_julia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SC_JULIA", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert JuliaEngine(fake_julia).availability().details["executable"] == str(fake_julia)
    monkeypatch.setenv("SC_JULIA", str(fake_julia))
    assert JuliaEngine().availability().details["executable"] == str(fake_julia)
    monkeypatch.delenv("SC_JULIA")
    monkeypatch.setenv("PATH", f"{fake_julia.parent}:/usr/bin:/bin")
    assert JuliaEngine().availability().details["executable"] == str(fake_julia)


def test_julia_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SC_JULIA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    state = JuliaEngine().availability()
    assert not state.available
    assert state.explain() == (
        "no julia on PATH; install Julia 1.10 or newer, or name its program with --julia PATH or SC_JULIA"
    )
    monkeypatch.setenv("SC_JULIA", "/no/such")
    assert JuliaEngine().availability().reason == "SC_JULIA /no/such is no executable file"
    assert JuliaEngine(tmp_path).availability().reason == f"--julia {tmp_path} is no executable file"


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("julia version 1.4.2", "is Julia 1.4.2, too old"),
        ("Python 3.11", "--version does not answer as Julia does"),
    ],
)
def test_other_programs_are_refused(
    version: str, reason: str, fake_julia: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VERSION", version)
    state = JuliaEngine(fake_julia).availability()
    assert not state.available
    assert state.reason == f"{fake_julia} {reason}"


@pytest.mark.parametrize("version", ["1.5.3", "1.10.0", "1.12.0-rc1", "2.0.0"])
def test_versions_that_will_do(version: str, fake_julia: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VERSION", f"julia version {version}")
    assert JuliaEngine(fake_julia).availability().details["julia"] == version


def test_a_program_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "julia").write_text("not a program")
    (tmp_path / "julia").chmod(0o755)
    assert "does not run" in JuliaEngine(tmp_path / "julia").availability().reason


# --- sc doctor ------------------------------------------------------------------------------------------------------


def test_the_doctor_lists_every_engine(fake_julia: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "/no/julia")
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    findings = examine(fake_julia)
    assert [engine["engine"] for engine in findings["engines"]] == ["juliacall", "julia", "torch"]
    assert [engine["available"] for engine in findings["engines"]] == [False, True, True]
    assert findings["engines"][1]["julia"] == "1.11.0"
    assert findings["engines"][2]["threads"] >= 1
    assert findings["auto"] == "julia"
    assert findings["packages"]["numpy"]
