#!/usr/bin/env python3
"""Write the table of docs/networks.md anew: what tracing finds in networks of timm and transformers.

    python tools/network_table.py

Needs what tests/requirements-networks.txt lists, and takes about a minute. The rest of the page is written by hand.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.neurons.network_table import with_table  # noqa: E402

if __name__ == "__main__":
    page = ROOT / "docs" / "networks.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
    print(page)
