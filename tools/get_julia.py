#!/usr/bin/env python3
"""Put a private Julia under .cache/julia/, for the tests and the demo on a machine that has none.

Tried in this order, the first that works wins:

1. $SC_JULIA, or `julia` on PATH: nothing to do.
2. .cache/julia/bin/julia from an earlier call: nothing to do.
3. juliapkg, if this interpreter has it: the newest stable Julia, where the internet is open.
4. the Debian mirror that this machine is set up for: Julia 1.5.3 of Debian 11, unpacked, not installed.

The path of the executable is the last line on stdout; everything else goes to stderr. Exit 1 with one
line that says what to do where none of them works. Standard library only, Python 3.10 or newer.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"
HOME = CACHE / "julia"
ADVICE = "install Julia 1.10 or newer and put `julia` on PATH, or set SC_JULIA to its executable"

# Debian's own suites, by which we tell Debian's archive from other apt sources.
DEBIAN_SUITES = "stable|oldstable|testing|unstable|sid|forky|trixie|bookworm|bullseye|buster"
JULIA_SUITE = "bullseye"  # the last one with a `julia` package
# The machine's own serve: another C library than that of the running loader cannot be used.
NOT_UNPACKED = {"libc6", "libc-bin", "debconf"}

JULIAPKG = """
import socket, sys
socket.setdefaulttimeout(8)
from juliapkg.compat import Compat
from juliapkg.install_julia import best_julia_version, install_julia
version, files = best_julia_version(Compat.parse("1.10 - 1"))
if len(sys.argv) > 1:
    install_julia(files, sys.argv[1])
"""

APT_CONFIG = """
Dir::State "{apt}";
Dir::State::status "{apt}/status";
Dir::Cache "{apt}";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{apt}/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Retries "2";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
Debug::NoLocking "true";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""

WRAPPER = """#!/bin/sh
# Written by tools/get_julia.py: starts the Julia unpacked beside it with the libraries it came with.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
lib=$root/{lib}
export LD_LIBRARY_PATH="$lib/julia:$lib:$root/{lib_of_root}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec "$root/usr/bin/julia" "$@"
"""


class Unavailable(Exception):
    """This way to a Julia is closed; the message says why in one line."""


def log(message: str) -> None:
    print(f"get_julia: {message}", file=sys.stderr, flush=True)


def run(command: list[str | Path], seconds: float, what: str) -> None:
    """Run `command`; where it fails or takes too long, raise Unavailable with the last line that it printed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what} took longer than {seconds:.0f} s") from None
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["no output"]
        raise Unavailable(f"{what} failed: {lines[-1].strip()}")


def version(julia: str | Path) -> str | None:
    """What `julia --version` says, or None where it does not run."""
    try:
        done = subprocess.run([julia, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def from_juliapkg(root: Path) -> None:
    """Install the newest stable Julia under `root` with juliapkg."""
    if importlib.util.find_spec("juliapkg") is None:
        raise Unavailable(f"{sys.executable} has no juliapkg")
    # The list of versions first: where the internet is closed, that alone says so, and soon.
    run([sys.executable, "-c", JULIAPKG], 15, "asking for the list of Julia versions")
    log("downloading Julia through juliapkg (about 300 MB)")
    run([sys.executable, "-c", JULIAPKG, root], 1800, "juliapkg")


def debian_sources() -> list[str]:
    """The machine's apt sources of Debian itself, their suite replaced by JULIA_SUITE, in the deb822 format."""
    folder = Path("/etc/apt")
    found = []
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            fields = dict(re.findall(r"(?m)^([\w-]+):[ \t]*(.*)$", stanza))
            debian = set(fields.get("Suites", "").split()) & set(DEBIAN_SUITES.split("|"))
            if debian and "main" in fields.get("Components", "").split() and fields.get("Enabled", "yes") != "no":
                for field, value in ("Types", "deb"), ("Suites", JULIA_SUITE), ("Components", "main"):
                    stanza = re.sub(rf"(?m)^{field}:.*$", f"{field}: {value}", stanza)
                found.append(stanza.strip() + "\n")
    one_line = re.compile(rf"(?m)^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(?:{DEBIAN_SUITES})\s+(?:.*\s)?main\b")
    for file in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]:
        for options, uri in one_line.findall(file.read_text() if file.exists() else ""):
            keyring = re.search(r"signed-by=(\S+)", options)
            signed = f"Signed-By: {keyring[1]}\n" if keyring else ""
            found.append(f"Types: deb\nURIs: {uri}\nSuites: {JULIA_SUITE}\nComponents: main\n{signed}")
    return found


def from_debian(root: Path) -> None:
    """Unpack Debian's Julia and the libraries it needs under `root`; nothing of the system is touched."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Unavailable("no apt here")
    sources = debian_sources()
    if not sources:
        raise Unavailable("no Debian mirror among the apt sources of this machine")
    with tempfile.TemporaryDirectory(prefix="apt-", dir=CACHE) as folder:
        apt = Path(folder)
        for name in "lists/partial", "archives/partial", "sources":
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()  # empty: every dependency counts as missing and is downloaded
        (apt / "sources/debian.sources").write_text("\n".join(sources))
        (apt / "config").write_text(APT_CONFIG.format(apt=apt))
        get: list[str | Path] = ["apt-get", "-c", apt / "config", "-q"]
        log(f"downloading Julia and its libraries from the Debian mirror, suite {JULIA_SUITE} (about 80 MB)")
        run([*get, "update"], 180, "apt-get update")
        run(
            [*get, "--yes", "--download-only", "install", "julia"],
            900,
            f"getting julia from the mirror's {JULIA_SUITE}",
        )
        debs = [deb for deb in sorted(apt.glob("archives/*.deb")) if deb.name.split("_")[0] not in NOT_UNPACKED]
        log(f"unpacking {len(debs)} packages")
        for deb in debs:
            run(["dpkg", "-x", deb, root], 120, f"unpacking {deb.name}")
    lib = next(root.glob("usr/lib/*/julia")).parent.relative_to(root)
    wrapper = root / "bin/julia"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(WRAPPER.format(lib=lib, lib_of_root=lib.relative_to("usr")))
    wrapper.chmod(0o755)


def install(way: Callable[[Path], None]) -> None:
    """Let `way` fill a folder beside HOME, see that Julia runs there, and only then put it in place."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="julia-", dir=CACHE) as folder:
        root = Path(folder) / "julia"
        root.mkdir()
        way(root)
        run(
            [
                root / "bin/julia",
                "--startup-file=no",
                "-e",
                "using Random, LinearAlgebra, Test; randn(2, 2) * randn(2)",
            ],
            120,
            "the first start of the new Julia",
        )
        if version(HOME / "bin/julia"):  # another call was faster
            return
        if HOME.exists():  # broken
            HOME.rename(Path(folder) / "broken")
        root.rename(HOME)


def main() -> int:
    wanted = os.environ.get("SC_JULIA")
    if wanted and not version(wanted):
        log(f"SC_JULIA is {wanted}, which does not run as Julia: {ADVICE}")
        return 1
    for julia, where in (wanted, "SC_JULIA"), (shutil.which("julia"), "PATH"), (HOME / "bin/julia", "here already"):
        if julia and (found := version(julia)):
            log(f"{found} ({where}): nothing to do")
            print(julia)
            return 0
    for way in from_juliapkg, from_debian:
        try:
            install(way)
        except Unavailable as reason:
            log(str(reason))
            continue
        log(f"{version(HOME / 'bin/julia')} is in {HOME}")
        print(HOME / "bin/julia")
        return 0
    log(f"no Julia could be had here: {ADVICE}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
