"""Continuous integration elsewhere runs what can be run here: each step is a target of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TARGETS = {name for names in TARGETS for name in names.split()}


def steps(file: Path) -> list[dict[str, Any]]:
    jobs = YAML(typ="safe", pure=True).load(file.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_there_are_workflows() -> None:
    assert {file.stem for file in WORKFLOWS} == {"tests", "docs", "release"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_is_a_target_of_the_makefile(file: Path) -> None:
    commands = [step["run"] for step in steps(file) if "run" in step]
    assert commands
    for command in commands:
        program, *words = command.split()
        assert program == "make"
        targets = {word for word in words if "=" not in word}
        assert targets <= TARGETS, command


def test_every_supported_python_is_tested() -> None:
    matrix = YAML(typ="safe", pure=True).load((ROOT / ".github/workflows/tests.yml").read_text())
    pythons = matrix["jobs"]["test"]["strategy"]["matrix"]["python"]
    [oldest] = re.findall(r'^requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert pythons[0] == oldest
    assert pythons == [f"3.{minor}" for minor in range(10, 10 + len(pythons))]
