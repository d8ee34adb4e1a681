"""A stand-in for Julia: takes the same command line, speaks the same protocol, and misbehaves as FAKE says.

Its trajectories are wrong on purpose: state[k, s, n, d] = 1000 k + s.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import tomlkit


def emit(**event: object) -> None:
    print(json.dumps(event), flush=True)


def simulate(place: Path) -> None:
    how = os.environ.get("FAKE", "")
    (place / "pid").write_text(str(os.getpid()))
    if how == "does not start":
        print("some warning\nERROR: LoadError: no such package", file=sys.stderr)
        sys.exit(1)
    spec = tomlkit.parse((place / "spec.toml").read_text()).unwrap()
    noise, shape = spec["noise"], (len(spec["snapshots"]), spec["trajectories"], 2)
    levels = place / "levels"
    levels.mkdir(exist_ok=True)
    print("StochasticCollapse: this is for the user", file=sys.stderr)
    print("this is not", file=sys.stderr, flush=True)
    for k in range(len(noise)):
        emit(event="progress", levels_done=k, levels=len(noise), steps_done=10 * k, steps=10 * len(noise))
        if k == 1:
            misbehave(how, place)
        if (place / "stop").exists():
            emit(event="stopped", levels_done=k)
            return
        path = levels / f"level_{k:05d}.npy"
        if not path.exists():
            np.save(path, np.broadcast_to(1000.0 * k + np.arange(shape[0])[:, None, None], shape))
    np.save(place / "time.npy", np.array(spec["snapshots"]) * spec["dt"])
    np.save(place / "noise.npy", np.array(noise, float))
    np.save(place / "state.npy", np.stack([np.load(levels / f"level_{k:05d}.npy") for k in range(len(noise))]))
    record = {"engine": os.environ["SC_ENGINE"], "julia": "1.11.0", "seconds": 0.5, "steps": 1000, "inputs": spec}
    (place / "provenance.toml").write_text(tomlkit.dumps(record))
    shutil.rmtree(levels)
    emit(event="finished", seconds=0.5)


def misbehave(how: str, place: Path) -> None:
    if how == "garbage":
        print("no JSON\n[1, 2]\n{\n" + json.dumps({"event": "unheard of"}) + "\n" + json.dumps({"event": "progress"}))
    elif how == "error":
        emit(event="error", message="spec.toml: dt = -1, expected a number > 0")
        emit(event="error", message="a second one")
        print("Stacktrace:\n [1] somewhere", file=sys.stderr)
        sys.exit(1)
    elif how == "failure":
        emit(event="error", message="cannot\nwrite")
        sys.exit(1)
    elif how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "waits for stop":
        while not (place / "stop").exists():
            time.sleep(0.02)
    elif how == "ignores stop":
        time.sleep(600)


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        print(os.environ.get("FAKE_VERSION", "julia version 1.11.0"))
    elif sys.argv[-1].startswith("print(VERSION"):
        print("1.11.0", os.environ.get("FAKE_PYTHONCALL", "true"))
    else:
        simulate(Path(sys.argv[-1]))
