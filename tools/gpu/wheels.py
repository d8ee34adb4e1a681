#!/usr/bin/env python3
"""Fill a folder with the wheels that `make gpu` may lack on a machine without internet: `make gpu-wheels PYTHON=3.12`.

    python tools/gpu/wheels.py 3.12 wheels [--machine x86_64] [--without numpy,pandas]

They are those of the package and of the tests for CUDA, with all that these need, in the versions of constraints.txt,
for CPython of that version on Linux. Not among them are packages that a machine with PyTorch brings or that are too
large to carry (`LARGE`). What was in the folder before is removed. Runs in the project's own environment, where it
reads what each package needs. Exit 1 with one line where that is impossible.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from needs import ROOT, WHEELS_AT_MOST, requirements

LARGE = {"torch", "triton", "scipy", "scikit-learn"}
"""Left to the machine."""

GLIBC = range(5, 40)
"""Minor versions of glibc 2 for whose manylinux wheels pip is asked; it wants each named."""


def closure(roots: list[Requirement], environment: dict[str, str]) -> Iterator[str]:
    """Names of `roots` and of all that they need in the target's `environment`, as installed here says."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen | LARGE or not (requirement.marker is None or requirement.marker.evaluate(environment)):
            continue
        seen.add(name)
        yield name
        with contextlib.suppress(metadata.PackageNotFoundError):  # of another Python, for which nothing else is needed
            waiting += map(Requirement, metadata.requires(name) or [])


def pins(environment: dict[str, str]) -> dict[str, str]:
    """Name → requirement of constraints.txt for that environment."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pinned = map(Requirement, filter(None, lines))
    fit = (pin for pin in pinned if pin.marker is None or pin.marker.evaluate(environment))
    return {canonicalize_name(pin.name): f"{pin.name}{pin.specifier}" for pin in fit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="version of the Python that will use them, such as 3.12")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machine", default="x86_64", help="x86_64 or aarch64")
    parser.add_argument("--without", default="", help="names of packages to leave out, since the machine has them")
    options = parser.parse_args()
    major, _, minor = options.python.partition(".")
    if major != "3" or not minor.isdecimal() or int(minor) < 10:
        sys.exit(f"gpu-wheels: PYTHON={options.python}: expected a version like 3.12, from 3.10 on")

    environment = {
        "python_version": options.python,
        "python_full_version": f"{options.python}.0",
        "platform_machine": options.machine,
        "extra": "",
    }
    without = {canonicalize_name(name) for name in options.without.replace(",", " ").split()}
    pinned = pins(environment)
    names = sorted(set(closure(requirements(), environment)) - without)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        for old in options.folder.glob("*.whl"):
            old.unlink()
    except OSError as error:
        sys.exit(f"gpu-wheels: {options.folder}: {error.strerror}; choose another folder with WHEELS=")
    platforms = [f"manylinux_2_{minor}_{options.machine}" for minor in GLIBC]
    legacy = [f"{kind}_{options.machine}" for kind in ("manylinux2014", "manylinux1")]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        + ["--only-binary=:all:", "--implementation", "cp", "--python-version", options.python]
        + [word for platform in platforms + legacy for word in ("--platform", platform)]
        + ["--dest", str(options.folder), *(pinned.get(name, name) for name in names)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
        sys.exit(f"gpu-wheels: {reason.removeprefix('ERROR: ')}")
    sizes = {path: path.stat().st_size for path in options.folder.glob("*.whl")}
    total = sum(sizes.values())
    if total > WHEELS_AT_MOST:
        largest = ", ".join(path.name.partition("-")[0] for path in sorted(sizes, key=sizes.__getitem__)[-3:])
        sys.exit(
            f"gpu-wheels: {total / 2**20:.0f} MiB, more than {WHEELS_AT_MOST >> 20}; leave out what the machine has, "
            f"such as WITHOUT='{largest}'"
        )
    left = ", ".join(sorted(LARGE | without))
    print(f"{options.folder}: {len(sizes)} wheels for Python {options.python}, {total / 2**20:.1f} MiB; without {left}")


if __name__ == "__main__":
    main()
