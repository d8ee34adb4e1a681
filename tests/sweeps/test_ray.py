"""The executor `ray` on a real cluster of two nodes, one of which is killed in the middle of the sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stochastic_collapse.cli import run as sc
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps import load_sweep

from .test_scheduler import wait_until

ray = pytest.importorskip("ray", reason="Ray is not installed")

SWEEP = """
name: cluster
experiments:
  mlp:
    base: tiny.yaml
    settings:
      model: {name: "python:own.py:net"}  # a path that leads on from where the command was given
      max_steps: 6000
      checkpoint_every: 1000
      log_every: 500
      eval_every: 0
      collapse.every: 0
    grid: {seed: [1, 2, 3, 4]}
"""

OWN = """
from torch import nn


def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, num_classes))
"""


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    try:
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    except Exception as error:  # of many kinds: no ports, no shared memory
        pytest.skip(f"Ray starts no cluster here: {error}")
    yield made
    made.shutdown()


@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_lost_node_loses_nothing(
    cluster: Any, sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    file = sweep_file(SWEEP)
    monkeypatch.chdir(file.parent)
    Path("own.py").write_text(OWN)
    runs = [run.directory for run in load_sweep(file).runs]
    command = [sys.executable, "-m", "stochastic_collapse", "sweep", "-f", str(file), "--json"]
    process = subprocess.Popen(
        [*command, "--executor", "ray", "--address", cluster.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: sum(max(run.checkpoints(), default=0) >= 2000 for run in runs) >= 2, 180)
    cluster.remove_node(nodes[1], allow_graceful=False)
    before = written(runs)
    assert len({run for run, _ in before}) < len(runs)  # in the middle of the sweep
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert (result["finished"], result["trained"], result["failures"]) == (4, 4, {})
    # Nothing lost: every run has all its checkpoints. Nothing trained twice: those from before were not written again.
    assert all(list(run.checkpoints()) == list(range(1000, 6001, 1000)) for run in runs)
    after = written(runs)
    assert {key: after[key] for key in before} == before


def written(runs: list[RunDirectory]) -> dict[tuple[RunDirectory, int], int]:
    """When each checkpoint was written."""
    return {(run, step): path.stat().st_mtime_ns for run in runs for step, path in run.checkpoints().items()}


def test_without_a_cluster(
    sweep_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert sc(["sweep", "-f", str(sweep_file()), "--executor", "ray"]) == 2
    err = capsys.readouterr().err
    assert "executor ray: no cluster found" in err
    assert "--address names one" in err


def test_without_ray(
    sweep_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sc(["sweep", "-f", str(sweep_file()), "--executor", "ray"]) == 2
    assert "pip install 'stochastic-collapse[ray]'" in capsys.readouterr().err
