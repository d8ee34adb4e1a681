"""The wheel: what it holds, and that it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=CHECKOUT, check=True
    )
    return next(out.glob("*.whl"))


def test_it_holds_configurations_figures_julia_and_the_page(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "py.typed",
        "report/template.html",
        "report/report.css",
        "report/charts.js",
        "report/report.js",
        "configs/digits/mlp_gelu.yaml",
        "figures/collapse.py",
        "julia/Project.toml",
        "julia/src/StochasticCollapse.jl",
    ):
        assert f"stochastic_collapse/{needed}" in names
    drawn = [name for name in names if name.endswith((".png", ".pdf", ".html"))]  # figures/gallery, figures/out
    assert drawn == ["stochastic_collapse/report/template.html"]


def test_it_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "SC_RUNS": str(tmp_path / "runs")}

    def sc(*arguments: str) -> str:
        command = [sys.executable, "-m", "stochastic_collapse", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    where = subprocess.run(
        [sys.executable, "-c", "import stochastic_collapse; print(stochastic_collapse.__file__)"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(tmp_path))
    sc("train", "-f", "configs/digits/mlp_gelu.yaml", "max_steps=20", "--out", "run")
    assert sc("report", "run") == f"{Path('run', 'report.html')}\n"
    assert sc("figures", "collapse", "run").splitlines()[0].endswith("collapse.png")
    few = ("trajectories=2", "snapshots=[0,10]", "--engine", "torch")
    sc("two-neurons", "-f", "configs/toys/two_neurons.yaml", *few)
    [toy] = (tmp_path / "runs").glob("two-neurons-*")
    assert sc("figures", "two-neurons", str(toy)).splitlines()[0].endswith("two-neurons.png")


def test_versions_agree() -> None:
    import stochastic_collapse

    assert f'version = "{stochastic_collapse.__version__}"' in (CHECKOUT / "pyproject.toml").read_text()
    assert f"version: {stochastic_collapse.__version__}" in (CHECKOUT / "CITATION.cff").read_text()
