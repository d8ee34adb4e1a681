#!/usr/bin/env python3
"""Make an environment for `make gpu` on top of the machine's own PyTorch, with what is missing from a folder of wheels.

    python3 tools/gpu/environment.py ENVIRONMENT [--wheels wheels]

Run it with the Python that has PyTorch. The environment sees that Python's packages; what it lacks, or has in a version
that the package or another wheel cannot do with, comes from the wheels, with no network. What is still missing is said,
with what that costs. Exit 1 with one line where nothing can run: no PyTorch, no pip. Standard library and pip only.
"""

from __future__ import annotations

import argparse
import email
import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from needs import ROOT, requirements

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.tags import sys_tags
    from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
else:
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.tags import sys_tags
    from pip._vendor.packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

COSTS = {
    "scikit-learn": "the digits: stages replicates and tests",
    "scipy": "the comparisons of distributions: stages figure2 and tests",
    "pytest": "stage tests",
    "hypothesis": "stage tests",
    "juliacall": "nothing here",
}
"""What is not done without a package; without others nothing is."""

LOOK = """
import importlib.metadata, json
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({name: version(name) for name in %r}))
"""


def make(folder: Path) -> Path:
    """The environment's Python; it sees this one's packages, also where this one is an environment itself."""
    try:
        venv.create(folder, system_site_packages=True, clear=True, with_pip=False, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"gpu: {folder}: no environment can be made here: {error}")
    python = folder / "bin" / "python"
    # `system_site_packages` means those of the Python that environments are made of.
    [site] = (folder / "lib").glob("python*/site-packages")
    beneath = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "beneath.pth").write_text("".join(f"{path}\n" for path in (ROOT / "python", *beneath)))
    return python


def versions(python: Path, names: list[NormalizedName]) -> dict[NormalizedName, str | None]:
    done = subprocess.run([python, "-c", LOOK % names], capture_output=True, text=True, check=True)
    found: dict[NormalizedName, str | None] = json.loads(done.stdout)
    return found


def fitting(folder: Path) -> dict[NormalizedName, Path]:
    """Name → wheel of those that this Python can install; says which it cannot."""
    tags = set(sys_tags())
    fit: dict[NormalizedName, Path] = {}
    others: list[str] = []
    for path in sorted(folder.glob("*.whl")):
        try:
            name, _, _, its = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            its = frozenset()
        if its & tags:
            fit[name] = path
        else:
            others.append(path.name)
    if others:
        here = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        print(
            f"gpu: {folder}: {len(others)} wheels are not for {here} on this machine, such as {others[0]}; "
            f"`make gpu-wheels PYTHON={here.split()[1]}` fetches those that are",
            flush=True,
        )
    return fit


def requirements_of(wheel: Path) -> list[Requirement]:
    """What a wheel says that it needs here, without extras."""
    with zipfile.ZipFile(wheel) as file:
        [name] = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        lines = email.message_from_bytes(file.read(name)).get_all("Requires-Dist") or []
    named = map(Requirement, lines)
    return [one for one in named if one.marker is None or one.marker.evaluate({"extra": ""})]


def unmet(
    wanted: list[Requirement],
    wheels: Mapping[NormalizedName, Path],
    version: Callable[[NormalizedName], str | None],
) -> dict[NormalizedName, Requirement]:
    """Name → a requirement that what is here does not meet: of those `wanted`, and of the wheels taken for them."""
    found: dict[NormalizedName, Requirement] = {}
    waiting = list(wanted)
    while waiting:
        one = waiting.pop(0)
        name = canonicalize_name(one.name)
        here = version(name)
        if name in found or (here is not None and one.specifier.contains(here, prereleases=True)):
            continue
        found[name] = one
        if name in wheels:
            waiting += requirements_of(wheels[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path)
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels")
    options = parser.parse_args()
    try:
        import torch
    except (ImportError, OSError) as error:
        sys.exit(
            f"gpu: {sys.executable} cannot import PyTorch ({' '.join(str(error).split())}); "
            "name the Python that has it: make gpu PYTHON=/path/to/python3"
        )
    python = make(options.environment)
    wheels = fitting(options.wheels)
    wanted = [*requirements(), *map(Requirement, wheels)]
    there: dict[NormalizedName, str | None] = {}

    def version(name: NormalizedName) -> str | None:
        if name not in there:
            there.update(versions(python, [name]))
        return there[name]

    there |= versions(python, [canonicalize_name(one.name) for one in wanted])  # at once: each look takes a process
    lacking = unmet(wanted, wheels, version)
    carried = [wheels[name] for name in lacking if name in wheels and name != "torch"]
    if carried:
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
        pip += ["--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--ignore-installed"]
        done = subprocess.run(pip + list(map(str, carried)), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"gpu: the wheels cannot be installed: {' '.join(done.stderr.split())}")
        there.clear()
    print(
        f"gpu: {options.environment}: PyTorch {torch.__version__} of {sys.executable}, {len(carried)} wheels installed"
    )
    for name, one in unmet([*wanted, *lacking.values()], {}, version).items():
        found = f"{there[name]} is here, {one.specifier} needed" if there[name] else "missing"
        print(f"gpu: {name}: {found}, and not in {options.wheels}; costs {COSTS.get(name, 'every stage')}")


if __name__ == "__main__":
    main()
