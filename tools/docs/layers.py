"""The picture of docs/architecture.md, from its table of layers: python tools/docs/layers.py writes docs/layers.svg."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
WIDTH, LEFT, ROOM, GAP, HEIGHT, STEP = 760, 70, 620, 10, 32, 44


def picture() -> str:
    """The SVG, a box for each room, the highest layer first."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    layers = [
        (layer, re.findall(r"`(\w+)`", rooms))
        for layer, rooms in re.findall(r"^\| (\d+) \| (.+?) \|", page, re.MULTILINE)
    ]
    total = 10 + STEP * len(layers)
    boxes, names, numbers = [], [], []
    for row, (layer, rooms) in enumerate(layers):
        top, wide = 10 + STEP * row, (ROOM - GAP * (len(rooms) - 1)) / len(rooms)
        numbers.append(f'<text x="40" y="{top + 21}">{layer}</text>')
        for place, room in enumerate(rooms):
            x = LEFT + place * (wide + GAP)
            boxes.append(f'<rect x="{x:g}" y="{top}" width="{wide:g}" height="{HEIGHT}" rx="5"/>')
            names.append(f'<text x="{x + wide / 2:g}" y="{top + 21}">{room}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img" '
            'aria-label="Layers of the package; imports run downwards" font-family="sans-serif" font-size="14">',
            '<defs><marker id="a" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="#5c6bc0"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{total}" fill="#fff"/>',
            '<g fill="#eef0fa" stroke="#5c6bc0">' + "\n".join(boxes) + "</g>",
            '<g fill="#222" text-anchor="middle">' + "\n".join(names) + "</g>",
            '<g fill="#777" text-anchor="middle">' + "\n".join(numbers) + "</g>",
            f'<path d="M725 20 V{total - 20}" stroke="#5c6bc0" stroke-width="2" fill="none" marker-end="url(#a)"/>',
            f'<text x="745" y="{total // 2}" fill="#5c6bc0" text-anchor="middle" '
            f'transform="rotate(90 745 {total // 2})">imports</text>',
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    (DOCS / "layers.svg").write_text(picture(), encoding="utf-8")
