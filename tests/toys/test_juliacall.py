"""The engine juliacall: with stand-ins for juliacall, juliapkg and Julia, and, where it can start, the real one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stochastic_collapse import ToyConfig, simulate_toy
from stochastic_collapse.errors import EngineUnavailable, InputError
from stochastic_collapse.resources import shipped
from stochastic_collapse.toys.engines import JuliaCallEngine

from .conftest import FAKE
from .helpers import need

Make = Callable[..., ToyConfig]

JULIACALL = f"""
import importlib.util, json, os, sys
from pathlib import Path

if os.environ.get("FAKE") == "no juliacall":
    raise ImportError("libjulia is broken")

class JuliaError(Exception):
    pass

class Module:
    def seval(self, code):
        self.log = [*getattr(self, "log", []), code]
        return lambda path: self.log.append(path)

    @property
    def StochasticCollapse(self):
        return self

    def simulate(self, directory):
        settings = {{k: v for k, v in os.environ.items() if k.startswith("PYTHON_JULIACALL")}}
        record = {{"log": self.log, "settings": settings, "torch": "torch" in sys.modules}}
        Path(directory, "record.json").write_text(json.dumps(record))
        spec = importlib.util.spec_from_file_location("fake_julia", {str(FAKE)!r})
        fake = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fake)
        try:
            fake.simulate(Path(directory))
        except SystemExit:
            raise JuliaError("SpecError: dt\\nStacktrace: ...") from None

Main = Module()
"""


@pytest.fixture
def stand_ins(tmp_path: Path, fake_julia: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """juliacall is a stand-in, and the user has set a Julia and a project for it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "juliacall.py").write_text(JULIACALL)
    (site / "juliacall-0.9.99.dist-info").mkdir()
    (site / "juliacall-0.9.99.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: juliacall\nVersion: 0.9.99\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(fake_julia))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    monkeypatch.delenv("PYTHON_JULIACALL_THREADS", raising=False)
    monkeypatch.delenv("PYTHON_JULIACALL_HANDLE_SIGNALS", raising=False)
    return site


@pytest.mark.usefixtures("stand_ins")
def test_the_worker_makes_the_one_call(neuron: Make, fake_julia: Path) -> None:
    news: list[str] = []
    run = simulate_toy(neuron(), report=news.append)
    assert run.provenance["engine"] == "juliacall"
    assert news[0].startswith(f"engine juliacall (Julia 1.11.0 at {fake_julia}, as PYTHON_JULIACALL_EXE says); auto")
    record = json.loads((run.directory / "record.json").read_text())
    assert record["log"] == [
        "path -> push!(LOAD_PATH, path)",
        str(shipped("julia")),
        "using StochasticCollapse",
    ]
    assert record["settings"]["PYTHON_JULIACALL_HANDLE_SIGNALS"] == "yes"
    assert record["settings"]["PYTHON_JULIACALL_THREADS"] == "auto"
    assert not record["torch"]


@pytest.mark.usefixtures("stand_ins")
def test_settings_of_the_users_count_more(neuron: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_JULIACALL_THREADS", "3")
    run = simulate_toy(neuron(), "juliacall")
    assert json.loads((run.directory / "record.json").read_text())["settings"]["PYTHON_JULIACALL_THREADS"] == "3"


@pytest.mark.usefixtures("stand_ins")
def test_a_julia_error_is_one_line(neuron: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE", "error")
    with pytest.raises(InputError) as caught:
        simulate_toy(neuron(), "juliacall")
    assert str(caught.value) == "engine juliacall: spec.toml: dt = -1, expected a number > 0"
    assert "Stacktrace" in str(caught.value.__cause__)


@pytest.mark.usefixtures("stand_ins")
def test_a_juliacall_that_does_not_start(neuron: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE", "no juliacall")
    with pytest.raises(EngineUnavailable) as caught:
        simulate_toy(neuron(), "juliacall")
    assert str(caught.value) == "engine juliacall does not start: ERROR: libjulia is broken"
    assert simulate_toy(neuron()).provenance["engine"] != "juliacall"


def test_an_early_import_without_the_settings_is_warned_of(stand_ins: Path, tmp_path: Path) -> None:
    script = (
        "import juliacall; juliacall.Main.simulate = lambda path: None; "
        "from stochastic_collapse.toys.engines.juliacall_worker import main; main('.')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "juliacall was imported before PYTHON_JULIACALL_HANDLE_SIGNALS=yes and" in done.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"PYTHON_JULIACALL_PROJECT": ""}, "of PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT only one is set"),
        ({"PYTHON_JULIACALL_EXE": "/no/julia"}, "PYTHON_JULIACALL_EXE /no/julia is no executable file"),
        ({"FAKE_PYTHONCALL": "false"}, "of PYTHON_JULIACALL_PROJECT has no PythonCall"),
    ],
)
@pytest.mark.usefixtures("stand_ins")
def test_settings_that_cannot_work(settings: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    state = JuliaCallEngine().availability()
    assert not state.available
    assert reason in state.reason


def test_without_network_it_says_so_within_seconds(
    stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real juliapkg in an empty project, with a proxy that refuses."""
    monkeypatch.delenv("PYTHON_JULIACALL_EXE")
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT")
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path / "julia_env"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    started = time.monotonic()
    state = JuliaCallEngine().availability()
    assert time.monotonic() - started < 15
    assert not state.available
    assert state.reason.startswith("juliapkg has no Julia yet and cannot fetch one from the internet (")
    assert "PYTHON_JULIACALL_EXE" in state.advice
    monkeypatch.setenv("PYTHON_JULIAPKG_OFFLINE", "yes")
    assert "offline" in JuliaCallEngine().availability().reason


@pytest.mark.juliacall
def test_live(neuron: Make) -> None:
    """The real thing gives what the engine julia gives, to the last bit."""
    need("juliacall")
    config = neuron("trajectories=100", "snapshots=[0, 200]")
    run = simulate_toy(config, "juliacall")
    assert run.provenance["engine"] == "juliacall"
    assert run.state.shape == (3, 2, 100, 2)
    assert np.isfinite(run.state).all()
    with pytest.raises(InputError, match=r"engine juliacall: spec.toml: parameters.activation"):
        simulate_toy(neuron("problem.activation=sine"), "juliacall")
