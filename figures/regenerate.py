"""All figures of the paper into figures/out/, with a page about them: `sc figures --all` of a checkout.

python figures/regenerate.py --size quick        # everything from nothing, minutes on 2 cores
python figures/regenerate.py --help
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    # A script's folder is searched for imports first, where our fractions.py would hide Python's own.
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != HERE]
    try:
        from stochastic_collapse.cli import main
    except ImportError as error:
        sys.exit(f"{sys.argv[0]}: {error}; run `make setup`, then .venv/bin/python {sys.argv[0]}")
    sys.argv[1:1] = ["figures", "--all", "--out", str(HERE / "out")]
    main()
