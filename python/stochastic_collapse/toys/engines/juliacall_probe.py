"""Finds out whether juliacall could start Julia here; prints one JSON object, an `Availability`, as its last line.

Run as a process, since it asks the network through juliapkg, which has no deadline of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import subprocess
from typing import Any

_ADVICE = "where there is no internet, set PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT, a project with PythonCall"


def probe() -> dict[str, Any]:
    """The fields of an `Availability`."""
    if importlib.util.find_spec("juliacall") is None:
        return _no("the Python package juliacall is not installed", "pip install juliacall")
    exe, project = os.environ.get("PYTHON_JULIACALL_EXE"), os.environ.get("PYTHON_JULIACALL_PROJECT")
    if exe and project:
        return _of_user(exe, project)
    if exe or project:
        return _no("of PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT only one is set", "set both, or none")
    return _of_juliapkg()


def _of_user(exe: str, project: str) -> dict[str, Any]:
    """The Julia and the project that the user set."""
    found = shutil.which(exe)
    if found is None:
        return _no(f"PYTHON_JULIACALL_EXE {exe} is no executable file")
    script = 'print(VERSION, " ", Base.find_package("PythonCall") !== nothing)'
    answer = subprocess.run(
        [found, "--startup-file=no", f"--project={project}", "-e", script], capture_output=True, text=True
    )
    version, _, has_pythoncall = answer.stdout.partition(" ")
    if answer.returncode:
        return _no(f"{found} does not run: {(answer.stderr.strip() or 'no message').splitlines()[0]}")
    if has_pythoncall.strip() != "true":
        return _no(f"the project {project} of PYTHON_JULIACALL_PROJECT has no PythonCall")
    return _yes(version, f"Julia {version} at {found}, as PYTHON_JULIACALL_EXE says", found)


def _of_juliapkg() -> dict[str, Any]:
    """The Julia that juliapkg has installed, or could."""
    import juliapkg
    from juliapkg.find_julia import julia_version
    from juliapkg.install_julia import best_julia_version
    from juliapkg.state import STATE

    if juliapkg.resolve(dry_run=True):
        exe = juliapkg.executable()
        version = str(julia_version(exe))
        return _yes(version, f"Julia {version} at {exe}, found by juliapkg", exe)
    if STATE["offline"]:
        return _no("juliapkg has no Julia with PythonCall yet and is set to be offline", _ADVICE)
    socket.setdefaulttimeout(5)
    try:
        newest, _ = best_julia_version()
    except Exception as error:  # whatever the network answers
        reason = " ".join(str(getattr(error, "reason", error)).split())
        return _no(f"juliapkg has no Julia yet and cannot fetch one from the internet ({reason})", _ADVICE)
    return _yes(None, f"juliapkg will fetch Julia {newest} first, which takes minutes", None)


def _no(reason: str, advice: str = "") -> dict[str, Any]:
    return {"available": False, "reason": reason, "advice": advice}


def _yes(version: str | None, reason: str, exe: str | None) -> dict[str, Any]:
    details = {"juliacall": importlib.metadata.version("juliacall"), "julia": version, "executable": exe}
    return {"available": True, "reason": reason, "details": {**details, "threads": os.cpu_count() or 1}}


if __name__ == "__main__":
    print(json.dumps(probe()))
