"""Stands between `sc` and an engine's process, and ends the engine when `sc` asks for it, or is no more.

Run by path, with the standard library only: guard.py GRACE DIRECTORY COMMAND... in a process group of its own. `sc`
holds the other end of our stdin. When it closes that on Ctrl-C, or dies, even by SIGKILL, we put a file `stop` into the
directory, wait GRACE seconds for the engine to finish, and then kill the group, ourselves included. The exit status is
the engine's. While we run we hold `.engine.lock`, so that no second engine starts in the directory.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def main(grace: float, directory: Path, lock: Path, command: list[str]) -> int:
    holder = lock.open("w")
    fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    stop = directory / "stop"
    stop.unlink(missing_ok=True)  # left where an earlier guard was killed
    engine = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch() -> None:
        os.read(0, 1)  # returns when the other end is closed; unlike sys.stdin it holds no lock at exit
        stop.touch()
        time.sleep(grace)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = engine.wait()
    stop.unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    place = Path(sys.argv[2])
    os._exit(main(float(sys.argv[1]), place, place / ".engine.lock", sys.argv[3:]))
