"""`make gpu` without a GPU: stages that fail, hang or are cut off, the environment from wheels, and what is refused."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import accept
import environment
import needs
import wheels

ROOT = Path(__file__).resolve().parents[1]
SHELL = ROOT / "tools" / "gpu" / "accept.sh"


def stage(name: str, code: str, limit: float = 30.0) -> accept.Stage:
    return accept.Stage(name, lambda left: ["-c", code], limit, accept.last_line)


def outcomes(out: Path) -> dict[str, str]:
    """Stage → how it ended and what the table says of it."""
    rows = (
        re.fullmatch(r"(\S+)\s+(.*?)\s+[\d.]+ s  (.*)", line) for line in (out / "table.txt").read_text().splitlines()
    )
    return {row[1]: f"{row[2]}: {row[3]}" for row in rows if row}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run these stages; the exit status."""

    def run(*stages: accept.Stage, limit: float = 60.0, only: str = "") -> int:
        monkeypatch.setattr(accept, "stages", lambda out: list(stages))
        monkeypatch.setattr(accept, "LEAST", 0.5)
        monkeypatch.setattr(sys, "argv", ["accept.py", "--out", str(tmp_path), "--limit", str(limit), "--only", only])
        with pytest.raises(SystemExit) as ended:
            accept.main()
        return int(ended.value.code or 0) if not isinstance(ended.value.code, str) else 1

    return run


def test_a_stage_that_fails_does_not_stop_the_next(run: Callable[..., int], tmp_path: Path) -> None:
    status = run(
        stage("machine", "print('a device')"),
        stage("fails", "import sys; print('begun'); sys.exit('this broke')"),
        stage("hangs", "import time; print('half', flush=True); time.sleep(60)", limit=1.0),
        stage("skips", f"import sys; print('no data here'); sys.exit({accept.SKIPPED})"),
        stage("passes", "print(1); print(42)"),
    )
    assert status == 1
    assert outcomes(tmp_path) == {
        "machine": "passed: a device",
        "fails": "failed: this broke",
        "hangs": "cut off: half",
        "skips": "skipped: no data here",
        "passes": "passed: 42",
    }
    log = (tmp_path / "log.txt").read_text()
    assert all(word in log for word in ("===== fails", "begun", "this broke", "half"))


def test_skipped_is_no_failure(run: Callable[..., int]) -> None:
    assert run(stage("machine", "print(1)"), stage("skips", f"import sys; sys.exit({accept.SKIPPED})")) == 0


@pytest.mark.parametrize(("only", "taken"), [("b", "b"), ("machine, c b", "bc"), ("", "abc")])
def test_only_the_stages_that_are_named(run: Callable[..., int], tmp_path: Path, only: str, taken: str) -> None:
    assert run(stage("machine", "print(1)"), *(stage(name, "print(2)") for name in "abc"), only=only) == 0
    assert list(outcomes(tmp_path)) == ["machine", *taken]


def test_without_a_device_nothing_is_tried(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(stage("machine", "import sys; sys.exit('no CUDA device: why')"), stage("tests", "print(1)")) == 1
    assert outcomes(tmp_path) == {"machine": "failed: no CUDA device: why", "tests": "failed: no CUDA device"}


def test_the_limit_is_kept(run: Callable[..., int], tmp_path: Path) -> None:
    began = time.monotonic()
    sleeps = stage("sleeps", "import time; time.sleep(60)")
    assert run(stage("machine", "print(1)"), sleeps, stage("late", "print(1)"), limit=3.0) == 1
    assert time.monotonic() - began < 10
    assert outcomes(tmp_path)["sleeps"].startswith("cut off")
    assert outcomes(tmp_path)["late"].startswith("no time left")


def test_what_a_stage_leaves_running_is_stopped(run: Callable[..., int], tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    start = "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    code = f"import subprocess, sys; {start}; open({str(pid)!r}, 'w').write(str(p.pid))"
    assert run(stage("machine", code)) == 0
    stat = Path(f"/proc/{pid.read_text()}/stat")
    wait(lambda: not stat.exists() or stat.read_text().split()[2] == "Z")


def wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_cut_off_at_any_second_finished_stages_stay(tmp_path: Path, how: signal.Signals) -> None:
    script = f"""
import sys
sys.path[:0] = [{str(ROOT / "tools" / "gpu")!r}]
import accept
def stage(name, code):
    return accept.Stage(name, lambda left: ["-c", code], 60, accept.last_line)
accept.stages = lambda out: [stage("machine", "print('here')"), stage("long", "import time; time.sleep(60)")]
sys.argv = ["accept.py", "--out", {str(tmp_path)!r}, "--limit", "60"]
accept.main()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: (tmp_path / "log.txt").exists() and "===== long" in (tmp_path / "log.txt").read_text())
    process.send_signal(how)
    assert process.wait(20) != 0
    assert outcomes(tmp_path) == {"machine": "passed: here"}


def test_no_room_is_one_line_and_what_is_finished_stays(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = accept.write

    def full(path: Path, text: str) -> None:
        if "second" in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path, text)

    monkeypatch.setattr(accept, "write", full)
    assert run(stage("machine", "print(1)"), stage("second", "print(2)")) == 1
    assert outcomes(tmp_path) == {"machine": "passed: 1"}


def test_figures_of_tests_and_benchmarks() -> None:
    output = (
        "collected 9 items / 5 deselected / 4 selected\n"
        "tests/a.py::one PASSED   [ 25%]\ntests/a.py::two[x: y] FAILED [ 50%]\ntests/a.py::three PASSED [ 75%]\n"
    )
    assert accept.tests_figure(output) == "2 passed, 1 failed of 4"
    assert accept.tests_figure("ImportError: no module\n") == "ImportError: no module"
    lines = "a/b: 3.2 s (3–4, n = 2), 5 × that (16); words\nother: 1 s (1–1, n = 1); x\n"
    assert accept.records("a/b", "a/c")(lines) == "a/b: 3.2 s (3–4, n = 2), 5 × that (16)"
    assert accept.records("a/c")("Traceback\nValueError: x\n") == "ValueError: x"


def test_all_cuda_tests_are_among_the_stages(tmp_path: Path) -> None:
    [tests] = (stage for stage in accept.stages(tmp_path) if stage.name == "tests")
    named = {word for word in tests.command(60) if word.endswith(".py")}
    marked = {
        str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("*.py") if "@pytest.mark.cuda\n" in p.read_text()
    }
    assert marked
    assert marked - {str(Path(__file__).relative_to(ROOT))} <= named


# --- the environment and the shell ---


def shell(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "OUT": str(tmp_path / "out"),
        "WHEELS": str(tmp_path),
        **settings,
    }
    return subprocess.run([str(SHELL)], env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_here_every_stage_ends_with_no_cuda_device(tmp_path: Path) -> None:
    done = shell(tmp_path)
    assert done.returncode == 1, done.stderr
    found = outcomes(tmp_path / "out")
    assert list(found) == [stage.name for stage in accept.stages(tmp_path)]
    assert all("no CUDA device" in how for how in found.values())
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LIMIT": "soon"}, "gpu: LIMIT=soon: expected a number of seconds"),
        ({"PYTHON": "/nowhere/python3"}, "gpu: no /nowhere/python3 here; name the Python that has PyTorch"),
        ({"OUT": "/proc/nowhere"}, "gpu: OUT=/proc/nowhere: cannot be written; choose another folder"),
        ({"PYTHON": "/bin/ls"}, "gpu: Python 3.10 or newer is needed, and /bin/ls is ls"),
        ({"STAGES": "tests mine"}, "gpu: STAGES=tests mine: no stage mine; there are tests, figure2, training"),
    ],
)
def test_what_the_shell_refuses(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    done = shell(tmp_path, **settings)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def wheel(folder: Path, name: str, tag: str, code: str, version: str = "1.0", needs: Sequence[str] = ()) -> None:
    """A wheel of one module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as file:
        file.writestr(f"{name}.py", code)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {need}" for need in needs]
        file.writestr(f"{info}/METADATA", "".join(f"{line}\n" for line in lines))
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n")
        file.writestr(f"{info}/RECORD", "")


def test_an_environment_has_what_is_beneath_it_and_the_wheels_that_fit(tmp_path: Path) -> None:
    carried, place = tmp_path / "wheels", tmp_path / "environment"
    carried.mkdir()
    wheel(carried, "sc_carried", "py3-none-any", "HERE = 7\n")
    wheel(carried, "sc_other", "cp27-cp27m-manylinux1_x86_64", "")
    (carried / "half-a-name.whl").write_bytes(b"")
    script = [sys.executable, str(ROOT / "tools" / "gpu" / "environment.py"), str(place), "--wheels", str(carried)]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"2 wheels are not for Python {here} on this machine, such as half-a-name.whl" in done.stdout
    assert f"`make gpu-wheels PYTHON={here}` fetches those that are" in done.stdout
    assert "1 wheels installed" in done.stdout
    code = "import sc_carried, torch, stochastic_collapse; print(sc_carried.HERE, stochastic_collapse.__file__)"
    found = subprocess.run([place / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["7", str(ROOT / "python" / "stochastic_collapse" / "__init__.py")]


def test_what_a_carried_wheel_needs_is_held_to_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package of which the machine has a version is replaced where a wheel taken from the folder needs another."""
    carried, beneath = tmp_path / "wheels", tmp_path / "beneath"
    carried.mkdir()
    tag = "py3-none-any"
    wheel(carried, "pydantic", tag, "", "99.0", ["sc_core==2.0", "sc_old>=3", "sc_none; extra == 'all'"])
    wheel(carried, "sc_core", tag, "", "2.0", ["sc_deep"])
    wheel(carried, "sc_deep", tag, "")
    wheel(carried, "sc_there", tag, "", "5.0")
    here = {"pydantic": "2.5", "sc-core": "1.0", "sc-there": "1.0", "sc-old": "2.9"}

    def versions(python: Path, names: Sequence[str]) -> dict[str, str | None]:
        """As on a machine that has all the rest."""
        [site] = (python.parents[1] / "lib").glob("python*/site-packages")
        installed = (path.name.removesuffix(".dist-info").partition("-") for path in site.glob("*.dist-info"))
        known = here | {canonicalize_name(name): version for name, _, version in installed}
        return {name: None if name == "sc-deep" and name not in known else known.get(name, "999") for name in names}

    monkeypatch.setattr(environment, "versions", versions)
    monkeypatch.setattr(sys, "argv", ["environment.py", str(beneath), "--wheels", str(carried)])
    environment.main()
    assert set(versions(beneath / "bin" / "python", ["pydantic", "sc-core", "sc-deep", "sc-there"]).values()) == {
        "99.0",
        "2.0",
        "1.0",
    }
    said = capsys.readouterr().out
    assert "3 wheels installed" in said
    assert f"gpu: sc-old: 2.9 is here, >=3 needed, and not in {carried}; costs every stage" in said
    assert said.count("\n") == 2


def test_a_python_without_pytorch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so is\\nnot here')")
    script = [sys.executable, str(ROOT / "tools" / "gpu" / "environment.py"), str(tmp_path / "environment")]
    done = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert re.fullmatch(
        r"gpu: \S+ cannot import PyTorch \(libcudart.so is not here\); name the Python .*\n", done.stderr
    )


# --- the wheels ---


def names(version: str) -> set[str]:
    environment = {"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
    return set(wheels.closure(needs.requirements(), environment))


def test_the_wheels_are_all_that_is_needed_but_what_the_machine_has() -> None:
    found = names("3.12")
    roots = {canonicalize_name(one.name) for one in needs.requirements()} - wheels.LARGE
    assert roots <= found
    assert {"pydantic-core", "typing-extensions", "kiwisolver", "iniconfig"} <= found  # of theirs
    assert not [name for name in found if name in wheels.LARGE or name.startswith("nvidia")]
    assert names("3.10") - found == {"exceptiongroup"}  # what pytest needs on this one


@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_their_versions_are_those_of_the_constraints(version: str) -> None:
    environment = {"python_version": version}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = wheels.pins(environment)
    for name in names(version) & set(pinned):
        [line] = (
            line
            for line in lines
            if canonicalize_name(line.split("==")[0]) == name
            and ((marker := Requirement(line).marker) is None or marker.evaluate(environment))
        )
        assert pinned[name] == line.partition(";")[0].strip()


def unknown(arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "gpu" / "wheels.py"), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1
    return done.stderr


def test_a_folder_that_cannot_be_is_one_line() -> None:
    assert unknown(["3.12", "/proc/nowhere"]).startswith("gpu-wheels: /proc/nowhere: ")


def test_a_version_that_is_none_is_refused(tmp_path: Path) -> None:
    assert (
        unknown(["python3", str(tmp_path)])
        == "gpu-wheels: PYTHON=python3: expected a version like 3.12, from 3.10 on\n"
    )
