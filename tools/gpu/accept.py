"""The stages of `make gpu`: what they run, in which order, in how much time, and the table of how they ended.

    python tools/gpu/accept.py --out FOLDER --limit SECONDS [--only 'tests monitor']

The most telling come first. A stage that fails or takes too long does not stop the next, and its results are in the
folder the moment they are there: table.txt, log.txt with all that was printed, and the records of the benchmarks.
`--only` takes these stages, after the first, which says what machine it is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]

SKIPPED = 3
"""Exit status of a stage that had nothing to do here; its last line says why."""

LEAST = 10.0
"""Seconds without which a stage is not begun."""

DEVICE = """
import subprocess, sys, torch
try:
    torch.cuda.init()
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
except (AssertionError, RuntimeError) as error:
    why = "is built without CUDA" if torch.version.cuda is None else "says: " + str(error).partition(". ")[0]
    sys.exit(f"no CUDA device: PyTorch {torch.__version__} {why}")
query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
driver = subprocess.run(query, capture_output=True, text=True).stdout.split()
print(
    f"{name}, capability {capability[0]}.{capability[1]}, driver {driver[0] if driver else 'unknown'}, "
    f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
)
"""


@dataclass(frozen=True)
class Stage:
    """A part of the proof."""

    name: str
    command: Callable[[float], Sequence[str]]
    """Arguments of Python, from the seconds there are."""
    limit: float
    """Seconds at most."""
    figure: Callable[[str], str]
    """What the table says of its output."""


def last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "nothing printed"


def tests_figure(output: str) -> str:
    """Also of tests that were cut off."""
    ended = re.findall(r" (PASSED|FAILED|ERROR|SKIPPED)\b.*\[ *\d+%\]", output)
    found = re.search(r"(\d+) selected", output) or re.search(r"collected (\d+)", output)
    counts = ", ".join(f"{n} {word.lower()}" for word, n in Counter(ended).items())
    return f"{counts or 'none ended'} of {found[1]}" if found else last_line(output)


def records(*names: str) -> Callable[[str], str]:
    """What a benchmark printed of these figures, without the words and the spread."""

    def figure(output: str) -> str:
        lines = {name: line for line in output.splitlines() for name in names if line.startswith(f"{name}: ")}
        return "; ".join(lines[name].partition("; ")[0] for name in names if name in lines) or last_line(output)

    return figure


def stages(out: Path) -> list[Stage]:
    marked = [
        str(p.relative_to(ROOT)) for p in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.cuda" in p.read_text()
    ]

    def benchmark(script: str, *arguments: str) -> Callable[[float], Sequence[str]]:
        return lambda left: [f"benchmarks/{script}.py", "--out", str(out), *arguments]

    # Warnings of the machine's own versions of packages are not ours to fail for.
    pytest = ["-m", "pytest", "-v", "-m", "cuda", "-W", "default", "-p", "no:cacheprovider", "--durations=5", *marked]
    return [
        Stage("machine", lambda left: ["-c", DEVICE], 60, last_line),
        Stage("tests", lambda left: pytest, 120, tests_figure),
        Stage("figure2", benchmark("figure2"), 60, records("figure2/kernel", "figure2/agreement")),
        Stage(
            "training",
            benchmark("training", "--case", "vgg16,resnet18", "--block", "0.3", "--workers", "8"),
            220,
            records(*(f"training/{case}/{what}" for case in ("vgg16", "resnet18") for what in ("share", "compiled"))),
        ),
        Stage("collapse", benchmark("analysis", "--layers", "none"), 40, records("collapse/vgg16/cuda")),
        Stage("monitor", benchmark("monitor", "--case", "vgg16"), 60, records("monitor/vgg16")),
        Stage(
            "replicates",
            benchmark(
                "replicates", "--replicates", "256,64,8,1", "--block", "0.4", "--runs", "256", "--max-steps", "2000"
            ),
            150,
            records("replicates/256", "replicates/256/runs"),
        ),
        Stage(
            "run",
            lambda left: ["benchmarks/real_run.py", "--out", str(out), "--seconds", f"{left - 5:.0f}"],
            float("inf"),
            records("run/vgg16/accuracy", "run/vgg16/independent"),
        ),
    ]


@dataclass
class Row:
    """How a stage ended."""

    stage: str
    outcome: str
    seconds: float
    figure: str


def run(stage: Stage, left: float, log: IO[str]) -> Row:
    """Run a stage within its limit and what is `left`, and append what it prints to the log as it comes."""
    seconds = min(stage.limit, left)
    if seconds < LEAST:
        return Row(stage.name, "no time left", 0.0, "")
    log.write(f"\n===== {stage.name}\n")
    log.flush()
    at, began = log.tell(), time.perf_counter()
    # Its own session, so that all it started can be stopped.
    process = subprocess.Popen(
        [sys.executable, *stage.command(seconds)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
    )
    try:
        status: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        stop(process)
    outcome = {0: "passed", SKIPPED: "skipped", None: "cut off"}.get(status, "failed")
    output = Path(log.name).read_bytes()[at:].decode(errors="replace")
    return Row(
        stage.name,
        outcome,
        time.perf_counter() - began,
        stage.figure(output) if outcome != "skipped" else last_line(output),
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the stage and whatever it left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write(path: Path, text: str) -> None:
    """Whole, or not at all."""
    part = path.with_suffix(".part")
    try:
        part.write_text(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def table(rows: Sequence[Row]) -> str:
    width = max(len(row.outcome) for row in rows)
    return "".join(f"{row.stage:<10}  {row.outcome:<{width}}  {row.seconds:6.1f} s  {row.figure}\n" for row in rows)


def main() -> None:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--only", default="", help="names of stages, all without it")
    options = parser.parse_args()
    out = options.out.resolve()
    first, *others = stages(out)
    known = {stage.name: stage for stage in others}
    only = set(options.only.replace(",", " ").split()) - {first.name}
    if unknown := sorted(only - known.keys()):
        sys.exit(f"gpu: STAGES={options.only}: no stage {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = [first, *(stage for stage in others if not only or stage.name in only)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PYTHONUNBUFFERED"] = "1"

    rows: list[Row] = []
    try:
        with (out / "log.txt").open("w") as log:
            for stage in wanted:
                left = options.limit - (time.perf_counter() - began)
                if rows and rows[0].outcome in ("failed", "cut off"):
                    rows.append(Row(stage.name, "failed", 0.0, "no CUDA device"))
                else:
                    rows.append(run(stage, left, log))
                write(out / "table.txt", table(rows))
                print(table(rows[-1:]), end="", flush=True)
    except OSError as error:
        sys.exit(f"gpu: {options.out}: {error.strerror}; what was finished stays. Free some room or set OUT=")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        print(f"results in {options.out}", flush=True)
    sys.exit(any(row.outcome not in ("passed", "skipped") for row in rows))


if __name__ == "__main__":
    main()
