"""Execute the notebook: `tour.py` to see that it runs, `tour.py --store` to put its output into the file."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).resolve().parents[2] / "docs" / "tour.ipynb"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="Put the output into docs/tour.ipynb.")
    store = parser.parse_args().store
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the notebook asks for itself, too late for some libraries
    notebook = nbformat.read(TOUR, as_version=4)
    started = time.perf_counter()
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False)
    client.create_kernel_manager().transport = "ipc"  # sockets of files, since TCP's would be open to other users
    client.execute(cwd=str(TOUR.parents[1]))  # raises the error of a cell that fails
    print(f"{TOUR.name}: {time.perf_counter() - started:.0f} s")
    if store:
        notebook.metadata["language_info"] = {"name": "python"}  # not the version of this machine
        nbformat.write(notebook, TOUR)


if __name__ == "__main__":
    main()
