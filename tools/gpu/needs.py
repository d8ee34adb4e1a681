"""What a run of `make gpu` needs beside PyTorch, read from pyproject.toml by the machine's own Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

# pip brings both, and a machine with nothing but PyTorch and pip need have no other.
if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

if TYPE_CHECKING:
    from packaging.requirements import Requirement
else:
    from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

TESTS = {"pytest", "hypothesis"}
"""Those of the extra dev that the tests for CUDA need."""

WHEELS_AT_MOST = 64 << 20
"""Bytes of all wheels together."""


def requirements() -> list[Requirement]:
    """Those of the package and of the tests for CUDA."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    development = map(Requirement, project["optional-dependencies"]["dev"])
    return [*map(Requirement, project["dependencies"]), *(one for one in development if one.name in TESTS)]
