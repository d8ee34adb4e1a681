"""The notebook as a page: its cells and stored outputs as Markdown, its pictures as files."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def to_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """The page, and the pictures that it shows by their names beside it."""
    pictures: dict[str, bytes] = {}
    lines: list[str] = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines += [source, ""]
            continue
        lines += ["```python", source, "```", ""]
        for output in cell["outputs"]:
            lines += [*_output(output, path.stem, pictures), ""]
    return "\n".join(lines), pictures


def _output(output: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> list[str]:
    content = output.get("data", {})
    if "image/png" in content:
        name = f"{stem}-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(content["image/png"])
        return [f"![What the cell above draws]({name})"]
    text = "".join(output.get("text") or content.get("text/plain", ""))
    return ["```text", _ANSI.sub("", text).rstrip(), "```"]
