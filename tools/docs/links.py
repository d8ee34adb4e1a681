"""The built site's links: none leads nowhere, and nothing that a page is made of is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


def problems(site: Path) -> Iterator[str]:
    """One line for each link of a page under `site` that is broken, and each part that comes from elsewhere."""
    pages = {path.resolve(): _read(path) for path in site.rglob("*.html")}
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the site's root, wherever that will be
            continue
        name = path.relative_to(site.resolve())
        for tag, url in page.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    yield f"{name}: <{tag}> fetches {url}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{name}: no file {url}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: no anchor {url}"


@dataclass
class _Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    links: list[tuple[str, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        for key in ("id", "name"):
            if name := values.get(key):
                self.anchors.add(name)
        for key in ("href", "src"):
            if url := values.get(key):
                self.links.append((tag, url))


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page
