"""README and pages of commands: every command there is run here, made small, or is named with the test that does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stochastic_collapse import cli
from stochastic_collapse.config import VGGSettings
from stochastic_collapse.models import build_model
from stochastic_collapse.task import Task

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_EXAMPLE, RUNS = (
    (ROOT / "docs" / "how-to" / name).read_text(encoding="utf-8") for name in ("commands.md", "look-after-runs.md")
)

_SHORT = ["max_steps=40", "schedule.warmup_steps=0", "eval_every=0", "log_every=20", "checkpoint_every=20"]
_SHORT += ["collapse.every=20"]
SMALLER: dict[str, list[str]] = {
    "sc train -f configs/digits": _SHORT,
    "sc finetune -f configs/digits": ["log_every=20", "max_steps=20", "eval_every=0", "schedule.warmup_steps=0"],
    "sc sweep -f configs/sweeps/learning_rate.yaml --size quick": ["--dry-run"],  # tests/sweeps trains sweeps
    "sc sweep -f configs/sweeps/learning_rate.yaml --size paper": ["--dry-run"],
    "sc sweep -f configs/sweeps/learning_rate_drop.yaml": ["--dry-run"],
    "sc sweep -f configs/sweeps/batch_size.yaml": ["--dry-run"],
    "sc simulate-toy single-neuron": ["trajectories=4", "snapshots=[0,10]"],
    "sc simulate-toy quartic-well": [
        *("ensembles.paths.trajectories=2", "ensembles.paths.snapshots=[0,9]"),
        *("ensembles.collapse.trajectories=2", "ensembles.collapse.snapshots=[0,9]"),
    ],
    "sc simulate-toy students -f configs/toys/students.yaml": [
        "--engine=torch",  # starts no Julia for each ensemble, as the tests of students do
    ]
    + [
        f"ensembles.{name}.{setting}"
        for name in ("labels", "isotropic", "frozen", "weight-decay", "plane")
        for setting in ("trajectories=4", "snapshots=[0,2]")
    ],
    "sc simulate-toy students -f configs/toys/students_threshold.yaml": ["trajectories=8", "snapshots=[0,2]"],
    "sc teacher-student": ["trajectories=2", "snapshots=[0,10]"],
    "sc two-neurons": ["trajectories=2", "snapshots=[0,10]"],
    "sc runs optimizer.lr=0.1 --show": ["name=demo"],
    "sc analyze runs/digits-mlp-* --attractivity": ["--neurons", "1", "--examples", "8"],
}
"""What makes a command quick, by how it begins."""

ELSEWHERE: dict[str, str] = {
    "sc data cifar10": "tests/data/test_files.py",
    "sc train -f configs/cifar": "tests/test_configs.py",
    "sc finetune -f configs/cifar10": "tests/training/test_origin.py",
    "sc figures --all": "tests/figures/test_everything.py",
    "python figures/regenerate.py": "tests/figures/test_everything.py",
    "sc control runs/digits-mlp-…": "tests/sweeps/test_controls.py",
    "sc figures control": "tests/figures/test_control.py",
    "sc figures fig": "tests/figures/test_everything.py",
    "sc figures two-neurons": "tests/figures/test_everything.py",
    "sc figures students": "tests/figures/test_everything.py",
    "sc figures batch-size": "tests/figures/test_everything.py",
}
"""Commands that need data from the network, or long runs: the file with the tests of the same commands."""

CHANGED: dict[str, str] = {"5000,20000": "20,40", "from.step=10000": "from.step=20"}
"""What is different where runs are short."""


def commands() -> Iterator[str]:
    """All commands in blocks of shell, and those in the table of figures."""
    for block in re.findall(r"```sh\n(.*?)```", README + BY_EXAMPLE + RUNS, re.DOTALL):
        for line in block.splitlines():
            if line.strip():
                yield re.sub(r"\s+(#|> ).*", "", line).strip()
    figures = BY_EXAMPLE.partition("## Figures")[2].partition("\n## ")[0]
    yield from re.findall(r"`(sc [^`]+)`", figures)


COMMANDS = list(dict.fromkeys(commands()))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's names mean something: short runs, and a file of weights."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SC_RUNS", str(folder / "runs"))
        for name, rate in (("demo", "0.1"), ("demo", "0.05"), ("digits-mlp", "0.1")):
            settings = [f"name={name}", f"optimizer.lr={rate}", *_SHORT]
            assert cli.run(["train", "-f", "configs/digits/mlp_gelu.yaml", *settings]) == 0
        vgg = build_model(VGGSettings(name="vgg16", width=0.05), Task((3, 32, 32), 10))
        torch.save({"state": {"model": vgg.state_dict()}}, folder / "state_100000ba.pt")
    return folder


def _spelled_out(command: str) -> list[str]:
    """The command's arguments, with its wildcards and its … as the shell and the reader fill them in."""
    for old, new in CHANGED.items():
        command = command.replace(old, new)
    words = []
    for word in shlex.split(command)[1:]:
        option, sign, pattern = word.partition("=") if "=runs/" in word else ("", "", word)
        found = sorted(map(str, Path().glob(pattern.replace("…", "*")))) if re.search(r"^runs/.*[*…]", pattern) else []
        words += [option + sign + path for path in found] or [word]
    return words


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(tuple(ELSEWHERE))])
def test_commands_run(
    command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("SC_RUNS", str(workplace / "runs"))
    begins = max((key for key in SMALLER if command.startswith(key)), key=len, default="")
    arguments = [*_spelled_out(command), *SMALLER.get(begins, [])]
    status = cli.run(arguments)
    out, err = capsys.readouterr()
    assert status == 0, f"sc {' '.join(arguments)}: {err}"
    assert out


@pytest.mark.parametrize("begins", ELSEWHERE)
def test_commands_that_run_elsewhere(begins: str) -> None:
    assert any(command.startswith(begins) for command in COMMANDS)
    tests = (ROOT / ELSEWHERE[begins]).read_text(encoding="utf-8")
    words = shlex.split(begins)
    assert words[1] in tests or words[-1] in tests


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z]+)`", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_it_sells_in_one_screen() -> None:
    assert len(README.splitlines()) <= 150


def test_files_and_pictures_are_there() -> None:
    places = "configs|docs|figures|julia|benchmarks"
    named = re.findall(rf"\]\(([^)#:]+)\)|src=\"([^\"]+)\"|`((?:{places})/[\w./-]+)`", README)
    for path in {part for match in named for part in match if part}:
        assert (ROOT / path.rstrip("/")).exists() or path.startswith("figures/out"), path


def test_python_examples_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, as one program; the training is short."""
    for package in ("timm", "tensorboard"):
        pytest.importorskip(package, reason=f"{package} is not installed here")
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("SC_RUNS", str(workplace / "runs"))
    few = [*SMALLER["sc simulate-toy single-neuron"], "--engine", "torch"]
    assert cli.run(["simulate-toy", "single-neuron", "-f", "configs/toys/fig2_quick.yaml", *few]) == 0
    toy = next(Path("runs").glob("fig2-quick-*"))
    program = "\n".join(re.findall(r"```python\n(.*?)```", README + BY_EXAMPLE + RUNS, re.DOTALL))
    program = program.replace('["optimizer.lr=0.1"]', repr(["optimizer.lr=0.1", *_SHORT]))
    program = program.replace("runs/fig2-quick-…", str(toy))
    names: dict[str, Any] = {"weights": torch.randn(5, 7), "batches": []}
    exec(compile(program, "README.md", "exec"), names)
    assert names["smaller"].after.parameters <= names["smaller"].before.parameters
