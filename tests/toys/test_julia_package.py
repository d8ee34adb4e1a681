"""The Julia package's own tests, where there is a Julia."""

from __future__ import annotations

import os
import subprocess

from stochastic_collapse.resources import shipped


def test_the_julia_suite_passes(julia: str) -> None:
    package = shipped("julia")
    command = [julia, "--startup-file=no", f"--project={package}", "--threads=2", str(package / "test" / "runtests.jl")]
    environment = {**os.environ, "JULIA_LOAD_PATH": "@:@stdlib"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "Test Summary" in done.stdout
