"""docs/how-to/your-own.md, from its first line to its last: files written, programs run, commands made small."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from stochastic_collapse import cli
from stochastic_collapse.config import load_config

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "how-to" / "your-own.md").read_text(encoding="utf-8")

_SHORT = ["max_steps=40", "collapse.every=20", "eval_every=0", "log_every=20"]
_NO_FILES = [  # CIFAR-10 takes 180 MB
    "data={name: synthetic, shape: [3, 32, 32], train_size: 32, test_size: 8}",
    *("max_steps=2", "batch_size=8", "collapse.every=1", "eval_every=0", "log_every=1"),
]
SMALLER = {
    "sc train": _SHORT,
    "sc train -f timm.yaml": _NO_FILES,
    "sc train -f gpt.yaml": [*_SHORT, "data.train_size=200", "data.test_share=0.01"],
}


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """Title and text of the page's blocks of this kind."""
    yield from re.findall(rf'```{kind} title="(.+?)"\n(.*?)```', PAGE, re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    return [re.sub(r"\s+# .*", "", line).strip() for line in lines]


def expanded(command: str) -> list[str]:
    """The words of a command, as the shell makes them."""
    python = f'python() {{ {sys.executable} "$@"; }}'
    done = subprocess.run(
        ["bash", "-c", f"{python}; printf '%s\\0' {command}"], stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout.split("\0")[:-1]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("timm", "transformers", "pytorch_lightning"):
        pytest.importorskip(package, reason=f"{package} is not installed here")
    monkeypatch.chdir(tmp_path)
    for variable in ("SC_RUNS", "SC_DATA"):
        monkeypatch.delenv(variable, raising=False)
    for kind in ("python", "yaml"):
        for title, text in blocks(kind):
            Path(title).write_text(text, encoding="utf-8")
    for command in commands():
        program, *words = expanded(command)
        if program == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other libraries' of one another
                runpy.run_path(words[0], run_name="__main__")
        elif program == "sc":
            begins = max((key for key in SMALLER if command.startswith(key)), key=len, default="")
            capsys.readouterr()
            status = cli.run([*words, *SMALLER.get(begins, [])])
            out, err = capsys.readouterr()
            assert status == 0, f"{command}: {err}"
            assert out
    for made in ("lightning.html", "smaller.pt", "measured/collapse.csv", "runs/figures/fig3.png"):
        assert Path(made).stat().st_size


def test_the_settings_on_the_page_are_right_as_they_stand(tmp_path: Path) -> None:
    for title, text in blocks("yaml"):
        path = tmp_path / title
        path.write_text(text, encoding="utf-8")
        assert load_config(path).name == path.stem
